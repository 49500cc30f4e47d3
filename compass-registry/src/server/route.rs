//! Parses request paths. Repository names contain slashes, so paths are parsed from their end.

use axum::http::StatusCode;

use super::error::ApiError;
use crate::{Digest, Repository, TagOrDigest};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Base,
    Catalog,
    Tags(Repository),
    Manifest(Repository, TagOrDigest),
    Blob(Repository, Digest),
    Uploads(Repository),
    Upload(Repository, String),
    Referrers(Repository, Digest),
}

impl Route {
    pub(super) fn parse(path: &str) -> Result<Self, ApiError> {
        let not_found = || ApiError::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such resource");
        let rest = path.strip_prefix("/v2").ok_or_else(not_found)?;
        match rest {
            "" | "/" => return Ok(Self::Base),
            "/_catalog" => return Ok(Self::Catalog),
            _ => {}
        }
        let mut parts: Vec<&str> =
            rest.strip_prefix('/').ok_or_else(not_found)?.split('/').collect();
        let last = parts.pop().unwrap_or_default();
        let kind = parts.pop().unwrap_or_default();
        match (kind, last) {
            ("referrers", digest) => Ok(Self::Referrers(name(&parts)?, parse_digest(digest)?)),
            ("tags", "list") => Ok(Self::Tags(name(&parts)?)),
            ("manifests", reference) => {
                Ok(Self::Manifest(name(&parts)?, parse_locator(reference)?))
            }
            ("blobs", "uploads") => Ok(Self::Uploads(name(&parts)?)),
            ("blobs", digest) => Ok(Self::Blob(name(&parts)?, parse_digest(digest)?)),
            ("uploads", id) if parts.pop() == Some("blobs") => match id {
                "" => Ok(Self::Uploads(name(&parts)?)),
                id => Ok(Self::Upload(name(&parts)?, id.to_owned())),
            },
            _ => Err(not_found()),
        }
    }
}

fn name(parts: &[&str]) -> Result<Repository, ApiError> {
    parse_name(&parts.join("/"))
}

pub(super) fn parse_name(text: &str) -> Result<Repository, ApiError> {
    text.parse().map_err(|error: crate::Error| {
        ApiError::new(StatusCode::BAD_REQUEST, "NAME_INVALID", error.to_string())
    })
}

fn parse_locator(text: &str) -> Result<TagOrDigest, ApiError> {
    match text.contains(':') {
        true => parse_digest(text).map(TagOrDigest::Digest),
        // An invalid tag names no manifest.
        false => text.parse().map_err(|_| ApiError::manifest_unknown()),
    }
}

pub(super) fn parse_digest(text: &str) -> Result<Digest, ApiError> {
    text.parse().map_err(|error: crate::Error| ApiError::digest_invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_repository_may_contain_api_words() {
        let name: Repository = "a/blobs/manifests/tags".parse().unwrap();
        let route = Route::parse("/v2/a/blobs/manifests/tags/manifests/v1").unwrap();
        assert_eq!(route, Route::Manifest(name.clone(), "v1".parse().unwrap()));
        assert_eq!(
            Route::parse("/v2/a/blobs/manifests/tags/tags/list").unwrap(),
            Route::Tags(name)
        );
    }

    #[test]
    fn route_uploads_ignores_trailing_slash() {
        let name: Repository = "a/b".parse().unwrap();
        for path in ["/v2/a/b/blobs/uploads/", "/v2/a/b/blobs/uploads"] {
            assert_eq!(Route::parse(path).unwrap(), Route::Uploads(name.clone()));
        }
        let one = Route::parse("/v2/a/b/blobs/uploads/7").unwrap();
        assert_eq!(one, Route::Upload(name, "7".to_owned()));
    }

    #[test]
    fn route_invalid_paths_are_rejected() {
        for path in
            ["/", "/v1/", "/v2/a", "/v2/../blobs/x", "/v2/a/blobs/../../x", "/v2//tags/list"]
        {
            assert!(Route::parse(path).is_err(), "{path}");
        }
    }
}
