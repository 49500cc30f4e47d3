//! Pushing manifests, and looking for blobs (distribution specification, § Push).

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};

use super::list;
use super::pull::{self, digest_header};
use super::transport::Transport;
use crate::{Descriptor, Digest, Error, RawManifest, Repository, Tag};

/// Both actions: the token that looks for a blob then also writes it.
pub(super) const PUSH: &str = "pull,push";

pub(super) async fn has_blob(
    transport: &Transport,
    repository: &Repository,
    descriptor: &Descriptor,
) -> Result<bool, Error> {
    let rest = format!("blobs/{}", descriptor.digest);
    let request = transport.request(Method::HEAD, repository, &rest, PUSH);
    match transport.send(&request, &[StatusCode::OK]).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Asks for what was just pushed, where the registry did not say what it stored.
async fn require_manifest(
    transport: &Transport,
    repository: &Repository,
    digest: Digest,
) -> Result<(), Error> {
    if pull::manifest_digest(transport, repository, &digest.into()).await? == Some(digest) {
        return Ok(());
    }
    let what = format!("{}/{repository}", transport.host());
    Err(Error::BadContent { what, reason: format!("the registry took {digest} and has it not") })
}

pub(super) async fn put_manifest(
    transport: &Transport,
    repository: &Repository,
    manifest: &RawManifest,
    tag: Option<&Tag>,
) -> Result<(), Error> {
    let digest = manifest.digest();
    let locator = tag.map_or_else(|| digest.to_string(), Tag::to_string);
    let mut request =
        transport.request(Method::PUT, repository, &format!("manifests/{locator}"), PUSH);
    let media_type = HeaderValue::from_str(&manifest.descriptor().media_type);
    let media_type = media_type.map_err(|_| {
        Error::invalid("media type", &manifest.descriptor().media_type, "expected plain text")
    })?;
    request.headers.insert(CONTENT_TYPE, media_type);
    request.body = manifest.bytes().clone();
    let response = transport.send(&request, &[StatusCode::CREATED, StatusCode::OK]).await?;
    match digest_header(&response) {
        Some(actual) if actual == digest => {}
        Some(actual) => {
            return Err(Error::DigestMismatch {
                what: format!(
                    "{}/{repository}:{locator} as the registry stored it",
                    transport.host()
                ),
                expected: Box::new(digest),
                actual: Box::new(actual),
            });
        }
        None => require_manifest(transport, repository, digest).await?,
    }
    match manifest.subject() {
        Some(subject) if !response.headers().contains_key("oci-subject") => {
            list::add_referrer(transport, repository, &subject, manifest).await
        }
        _ => Ok(()),
    }
}
