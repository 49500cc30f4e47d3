//! Serves manifests, tags, referrers and the catalog.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::Registry;
use super::ambiguity::require_unambiguous;
use super::blobs::insert_header;
use super::error::ApiError;
use super::request_body::RequestBody;
use super::route::parse_digest;
use super::uploads::query_pairs;
use crate::image_manifest::sniff_media_type;
use crate::{
    Descriptor, Digest, MAX_MANIFEST_BYTES, Manifest, RawManifest, Referrer, Repository,
    TagOrDigest,
};

/// The maximum size of a page of referrers in bytes.
const MAX_REFERRERS_PAGE: usize = 2 << 20;

/// The size of the largest manifest in bytes.
const MAX_BYTES: usize = 4 << 20;
const _: () = assert!(MAX_BYTES as u64 == MAX_MANIFEST_BYTES);

/// The memory that parsing a manifest takes, as a multiple of its size.
const PARSE_FACTOR: usize = 4;

impl Registry {
    pub(super) async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
        request: &Parts,
        body: RequestBody,
    ) -> Result<Response, ApiError> {
        match request.method {
            Method::GET => self.get_manifest(repository, reference, true).await,
            Method::HEAD => self.get_manifest(repository, reference, false).await,
            Method::PUT => self.put_manifest(repository, reference, request, body).await,
            Method::DELETE => match self.storage.delete_manifest(repository, reference).await? {
                true => Ok(StatusCode::ACCEPTED.into_response()),
                false => Err(ApiError::manifest_unknown()),
            },
            _ => Err(ApiError::unsupported("manifests support GET, HEAD, PUT and DELETE")),
        }
    }

    async fn get_manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
        with_body: bool,
    ) -> Result<Response, ApiError> {
        let memory = self.sent_memory.acquire(MAX_BYTES).await?;
        let manifest = self.storage.manifest(repository, reference).await?;
        let manifest = manifest.ok_or_else(ApiError::manifest_unknown)?;
        let memory = memory.shrink(manifest.bytes().len());
        let body = match with_body {
            true => Body::from(memory.hold(manifest.bytes().clone())),
            false => Body::empty(),
        };
        let mut response = body.into_response();
        let headers = response.headers_mut();
        insert_header(headers, "content-type", &manifest.descriptor().media_type);
        headers.insert(header::CONTENT_LENGTH, manifest.descriptor().size.into());
        insert_header(headers, "docker-content-digest", &manifest.digest().to_string());
        Ok(response)
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
        request: &Parts,
        body: RequestBody,
    ) -> Result<Response, ApiError> {
        let invalid =
            |reason: String| ApiError::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", reason);
        let media_type = content_type(&request.headers);
        let mut memory = self.received_memory.growing();
        let bytes = body.read_to_end(MAX_BYTES, &mut memory).await?.ok_or_else(|| {
            let message = "a manifest must not exceed 4 MiB";
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message)
        })?;
        memory.grow(PARSE_FACTOR * bytes.len()).await?;
        let media_type = media_type
            .or_else(|| sniff_media_type(&bytes))
            .ok_or_else(|| invalid("the media type is not known".to_owned()))?;
        require_unambiguous(&media_type, &bytes).map_err(invalid)?;
        let manifest = RawManifest::with_algorithm(reference.algorithm(), media_type, bytes);
        let content = manifest.parse().map_err(|error| invalid(error.to_string()))?;
        self.check_blobs_exist(repository, &content).await?;
        let tag = match reference {
            TagOrDigest::Tag(tag) => Some(tag),
            TagOrDigest::Digest(digest) if *digest == manifest.digest() => None,
            TagOrDigest::Digest(_) => {
                return Err(ApiError::digest_invalid("the content has another digest"));
            }
        };
        self.check_same_type(repository, &manifest).await?;
        self.storage.put_manifest(repository, &manifest, tag).await?;
        let mut response = StatusCode::CREATED.into_response();
        let digest = manifest.digest().to_string();
        insert_header(
            response.headers_mut(),
            "location",
            &format!("/v2/{repository}/manifests/{digest}"),
        );
        insert_header(response.headers_mut(), "docker-content-digest", &digest);
        if let Some(subject) = manifest.subject() {
            insert_header(response.headers_mut(), "oci-subject", &subject.to_string());
        }
        Ok(response)
    }

    /// Checks that a manifest keeps its media type. With another one, clients would interpret
    /// existing tags differently (CVE-2021-41190).
    async fn check_same_type(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
    ) -> Result<(), ApiError> {
        let stored =
            self.storage.manifest(repository, &TagOrDigest::Digest(manifest.digest())).await?;
        let Some(stored) = stored else { return Ok(()) };
        let (new, old) = (&manifest.descriptor().media_type, &stored.descriptor().media_type);
        if new == old {
            return Ok(());
        }
        let message = format!("{} was pushed as {old} before, not as {new}", manifest.digest());
        Err(ApiError::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message))
    }

    /// Checks that all blobs of a manifest exist, so that no tag names an incomplete image. An
    /// index may lack images of some platforms (sparse index).
    async fn check_blobs_exist(
        &self,
        repository: &Repository,
        content: &Manifest,
    ) -> Result<(), ApiError> {
        for Descriptor { digest, .. } in content.distributable_blobs() {
            if self.storage.blob_size(repository, digest).await?.is_none() {
                let message = format!("{repository} has no blob {digest}");
                let code = "MANIFEST_BLOB_UNKNOWN";
                return Err(ApiError::new(StatusCode::NOT_FOUND, code, message));
            }
        }
        Ok(())
    }

    pub(super) async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        request: &Parts,
    ) -> Result<Response, ApiError> {
        let parameters = query_pairs(&request.uri);
        let get = |key: &str| parameters.iter().find(|(name, _)| name == key).map(|(_, v)| v);
        let (wanted, last) = (get("artifactType"), get("last"));
        let mut digests = self.storage.referrers(repository, subject).await?;
        if let Some(last) = last {
            let last = parse_digest(last)?;
            digests.retain(|digest| *digest > last);
        }
        let (mut referrers, mut bytes, mut more): (Vec<Referrer>, _, _) = (Vec::new(), 0, false);
        for digest in digests {
            let _memory = self.sent_memory.acquire(PARSE_FACTOR * MAX_BYTES).await?;
            let found = self.storage.manifest(repository, &TagOrDigest::Digest(digest)).await?;
            let Some(referrer) = found.as_ref().map(Referrer::of) else { continue };
            if wanted.is_some_and(|wanted| referrer.artifact_type.as_ref() != Some(wanted)) {
                continue;
            }
            bytes += serde_json::to_vec(&referrer).map_or(0, |json| json.len());
            more = bytes > MAX_REFERRERS_PAGE && !referrers.is_empty();
            if more {
                break;
            }
            referrers.push(referrer);
        }
        let index = Referrer::index(&referrers);
        let mut response = index.bytes().clone().into_response();
        let headers = response.headers_mut();
        insert_header(headers, "content-type", &index.descriptor().media_type);
        if wanted.is_some() {
            insert_header(headers, "oci-filters-applied", "artifactType");
        }
        if let (true, Some(last)) = (more, referrers.last()) {
            let wanted = wanted.map(|kind| utf8_percent_encode(kind, NON_ALPHANUMERIC));
            let wanted = wanted.map(|kind| format!("artifactType={kind}&")).unwrap_or_default();
            let last = last.descriptor.digest;
            let next = format!("/v2/{repository}/referrers/{subject}?{wanted}last={last}");
            insert_header(headers, "link", &format!(r#"<{next}>; rel="next""#));
        }
        Ok(response)
    }

    pub(super) async fn tags(
        &self,
        repository: &Repository,
        request: &Parts,
    ) -> Result<Response, ApiError> {
        let tags = self.storage.tags(repository).await?.ok_or_else(ApiError::name_unknown)?;
        let names = tags.iter().map(|tag| tag.as_str().to_owned());
        let path = format!("/v2/{repository}/tags/list");
        Ok(paginate(
            request,
            &path,
            names.collect(),
            |tags| json!({"name": repository.as_str(), "tags": tags}),
        ))
    }

    pub(super) async fn catalog(&self, request: &Parts) -> Result<Response, ApiError> {
        let repositories = self.storage.repositories().await?;
        let names = repositories.iter().map(|name| name.as_str().to_owned());
        Ok(paginate(
            request,
            "/v2/_catalog",
            names.collect(),
            |names| json!({"repositories": names}),
        ))
    }
}

/// Returns one page of an ordered list, with a link to the next page. The page has at most `n`
/// names after `last`.
fn paginate(
    request: &Parts,
    path: &str,
    mut names: Vec<String>,
    body: impl FnOnce(&[String]) -> serde_json::Value,
) -> Response {
    let parameters = query_pairs(&request.uri);
    let get = |key: &str| parameters.iter().find(|(name, _)| name == key).map(|(_, v)| v.as_str());
    if let Some(last) = get("last") {
        names.retain(|name| name.as_str() > last);
    }
    let limit = get("n").and_then(|n| n.parse::<usize>().ok()).unwrap_or(usize::MAX);
    let more = names.len() > limit;
    names.truncate(limit);
    let mut response = body(&names).to_string().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let (true, Some(last)) = (more, names.last()) {
        insert_header(headers, "link", &format!(r#"<{path}?n={limit}&last={last}>; rel="next""#));
    }
    response
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim().to_owned())
}
