//! Lists and removal (distribution specification, § Content Discovery, § Content Management).

use std::str::FromStr;

use bytes::Bytes;
use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::pull::{manifest, read_limited};
use super::push::{PUSH, put_manifest};
use super::transport::{Request, Transport};
use crate::referrer::{Index, fallback_tag};
use crate::{Digest, Error, Locator, RawManifest, Referrer, Repository, Tag};

/// Entries that are asked for at once.
const PAGE: &str = "1000";

/// A list of more pages than this does not end.
const MAX_PAGES: usize = 10_000;

/// Bytes of all pages of a list. A name takes a hundred or so.
const MAX_BYTES: usize = 64 << 20;

#[derive(Deserialize)]
struct Tags {
    /// Registries write null where there are none.
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Catalogue {
    repositories: Option<Vec<String>>,
}

pub(super) async fn tags(
    transport: &Transport,
    repository: &Repository,
) -> Result<Vec<Tag>, Error> {
    let request = transport.request(Method::GET, repository, "tags/list", "pull");
    let pages: Vec<Tags> = pages(transport, with_page_size(request)).await?;
    Ok(known(pages.into_iter().filter_map(|page| page.tags).flatten()))
}

pub(super) async fn repositories(transport: &Transport) -> Result<Vec<Repository>, Error> {
    let request = transport.root_request("_catalog", "registry:catalog:*");
    let pages: Vec<Catalogue> = pages(transport, with_page_size(request)).await?;
    Ok(known(pages.into_iter().filter_map(|page| page.repositories).flatten()))
}

/// What can be asked for by its name; a registry may hold names of older times.
fn known<T: FromStr<Err = Error>>(names: impl Iterator<Item = String>) -> Vec<T> {
    let parsed = names.map(|name| name.parse().inspect_err(|error| tracing::warn!(%error)));
    parsed.filter_map(Result::ok).collect()
}

fn with_page_size(mut request: Request) -> Request {
    request.url.query_pairs_mut().append_pair("n", PAGE);
    request
}

async fn pages<T: DeserializeOwned>(
    transport: &Transport,
    mut request: Request,
) -> Result<Vec<T>, Error> {
    let (mut pages, mut bytes) = (Vec::new(), 0);
    let bad = |request: &Request, reason: &str| Error::BadContent {
        what: format!("the list {}{}", transport.host(), request.url.path()),
        reason: reason.to_owned(),
    };
    loop {
        let (headers, body) = get(transport, &request).await?;
        bytes += body.len();
        pages.push(serde_json::from_slice(&body).map_err(|e| bad(&request, &e.to_string()))?);
        let Some(link) = next_link(&headers) else { return Ok(pages) };
        let next = request.url.join(&link).ok().filter(|next| is_same_list(&request.url, next));
        let next = next.ok_or_else(|| bad(&request, "its next page is somewhere else"))?;
        if next == request.url || pages.len() == MAX_PAGES || bytes > MAX_BYTES {
            return Err(bad(&request, "it does not end"));
        }
        request.url = next;
    }
}

fn is_same_list(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin() && one.path() == other.path()
}

async fn get(transport: &Transport, request: &Request) -> Result<(HeaderMap, Bytes), Error> {
    let read = || async {
        let response = transport.send_once(request, &[StatusCode::OK]).await?;
        let headers = response.headers().clone();
        Ok((headers, read_limited(transport, request, response).await?))
    };
    transport.retry().run(read).await
}

/// The address of the next page (RFC 8288).
fn next_link(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(LINK)?.to_str().ok()?;
    let (target, parameters) = text.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split([';', ',']).any(|parameter| {
        let relation = parameter.trim().strip_prefix("rel=");
        relation.is_some_and(|relation| relation.trim_matches('"') == "next")
    });
    is_next.then(|| target.to_owned())
}

pub(super) async fn referrers(
    transport: &Transport,
    repository: &Repository,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Referrer>, Error> {
    let mut request =
        transport.request(Method::GET, repository, &format!("referrers/{subject}"), "pull");
    if let Some(kind) = artifact_type {
        request.url.query_pairs_mut().append_pair("artifactType", kind);
    }
    let found = match pages::<Index>(transport, request).await {
        Err(error) if error.is_not_found() => {
            fallback_referrers(transport, repository, subject).await?
        }
        found => found?.into_iter().flat_map(|page| page.manifests).collect(),
    };
    // A registry need not know the filter.
    let wanted =
        |one: &Referrer| artifact_type.is_none_or(|k| one.artifact_type.as_deref() == Some(k));
    Ok(found.into_iter().filter(wanted).collect())
}

/// The list that a registry without an API for referrers keeps under a tag.
async fn fallback_referrers(
    transport: &Transport,
    repository: &Repository,
    subject: &Digest,
) -> Result<Vec<Referrer>, Error> {
    let tag = Locator::Tag(fallback_tag(subject)?);
    match manifest(transport, repository, &tag).await {
        Ok(index) => Referrer::parse_index(index.bytes(), subject),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Adds a manifest to the list of what refers to its subject, where the registry does not do that.
pub(super) async fn add_referrer(
    transport: &Transport,
    repository: &Repository,
    subject: &Digest,
    referrer: &RawManifest,
) -> Result<(), Error> {
    let mut known = fallback_referrers(transport, repository, subject).await?;
    if known.iter().any(|one| one.descriptor.digest == referrer.digest()) {
        return Ok(());
    }
    known.push(Referrer::of(referrer));
    let tag = fallback_tag(subject)?;
    Box::pin(put_manifest(transport, repository, &Referrer::index(&known), Some(&tag))).await
}

pub(super) async fn delete(
    transport: &Transport,
    repository: &Repository,
    rest: &str,
) -> Result<(), Error> {
    let actions = format!("{PUSH},delete");
    let request = transport.request(Method::DELETE, repository, rest, &actions);
    let done = [StatusCode::ACCEPTED, StatusCode::OK, StatusCode::NO_CONTENT];
    transport.send(&request, &done).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_link_that_says_so() {
        let next = |text: &str| next_link(&HeaderMap::from_iter([(LINK, text.parse().unwrap())]));
        let page = Some("/v2/_catalog?last=b&n=2".to_owned());
        assert_eq!(next(r#"</v2/_catalog?last=b&n=2>; rel="next""#), page);
        assert_eq!(next("</v2/_catalog?last=b&n=2>;rel=next"), page);
        assert_eq!(next(r#"</v2/_catalog?last=b>; rel="prev""#), None);
        assert_eq!(next("nonsense"), None);
    }
}
