//! Pushing manifests and looking up blobs (distribution specification, § Push).

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode};

use super::pull::{self, digest_header, has_first_byte, is_head_refused};
use super::referrers;
use super::transport::{Transport, is_ok, is_success};
use crate::{Descriptor, Digest, Error, RawManifest, Repository, Tag, TagOrDigest};

/// Both actions, so that the token of the lookup also allows the upload.
pub(super) const PUSH: &str = "pull,push";

/// Checks whether a registry has a blob.
///
/// Returns `false` for a response with another length or digest, because pushing the blob again
/// does no harm.
pub(super) async fn has_blob(
    transport: &Transport,
    repository: &Repository,
    descriptor: &Descriptor,
    actions: &str,
) -> Result<bool, Error> {
    let rest = format!("blobs/{}", descriptor.digest);
    let request = transport.request(Method::HEAD, repository, &rest, actions);
    match transport.send(&request, is_ok).await {
        Ok(response) => Ok(!is_mismatch(&response, descriptor)),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) if is_head_refused(&error) => has_first_byte(transport, request).await,
        Err(error) => Err(error),
    }
}

fn is_mismatch(response: &Response, descriptor: &Descriptor) -> bool {
    let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    // Some proxies answer every `HEAD` with length 0.
    let length: Option<u64> = length.and_then(|length| length.parse().ok());
    let digest = digest_header(response);
    let digest = digest.filter(|told| told.algorithm() == descriptor.digest.algorithm());
    length.is_some_and(|length| length > 0 && length != descriptor.size)
        || digest.is_some_and(|digest| digest != descriptor.digest)
}

/// Waits until the registry shows pushed content, which some registries do with a delay.
///
/// # Errors
/// [`Error::InvalidResponse`] if the content stays invisible, and errors of `is_visible`.
pub(super) async fn wait_until_visible<F: Future<Output = Result<bool, Error>>>(
    transport: &Transport,
    repository: &Repository,
    digest: Digest,
    is_visible: impl Fn() -> F,
) -> Result<(), Error> {
    let look = || async {
        if is_visible().await? {
            return Ok(());
        }
        let what = format!("{}/{repository}", transport.host());
        let reason = format!("the registry accepted {digest} but does not have it");
        Err(Error::InvalidResponse { what, reason })
    };
    let is_missing = |error: &Error| matches!(error, Error::InvalidResponse { .. });
    transport.retry().run_if(is_missing, look).await
}

/// Checks whether the registry shows a manifest. Some registries show it under its tag only.
async fn is_manifest_visible(
    transport: &Transport,
    repository: &Repository,
    digest: Digest,
    tag: Option<&Tag>,
) -> Result<bool, Error> {
    for name in [Some(TagOrDigest::Digest(digest)), tag.cloned().map(TagOrDigest::Tag)] {
        let Some(name) = name else { continue };
        if pull::manifest_digest(transport, repository, &name).await? == Some(digest) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) async fn put_manifest(
    transport: &Transport,
    repository: &Repository,
    manifest: &RawManifest,
    tag: Option<&Tag>,
) -> Result<(), Error> {
    let digest = manifest.digest();
    let reference = tag.map_or_else(|| digest.to_string(), Tag::to_string);
    let mut request =
        transport.request(Method::PUT, repository, &format!("manifests/{reference}"), PUSH);
    let media_type = HeaderValue::from_str(&manifest.descriptor().media_type);
    let media_type = media_type.map_err(|_| {
        Error::invalid("media type", &manifest.descriptor().media_type, "expected plain text")
    })?;
    request.headers.insert(CONTENT_TYPE, media_type);
    request.body = manifest.bytes().clone();
    // A registry may need a moment to see blobs that it has just accepted, especially if another
    // client pushes the same ones.
    let passes = |error: &Error| error.is_transient() || error.is_blob_unknown();
    let put = || transport.send_without_retry(&request, is_success);
    let response = transport.retry().run_if(passes, put).await?;
    let told = digest_header(&response);
    let stored = told.map(|told| (told, told.algorithm().digest(manifest.bytes())));
    match stored {
        Some((told, own)) if told != own => {
            let host = transport.host();
            return Err(Error::DigestMismatch {
                what: format!("{host}/{repository}:{reference} as the registry stored it"),
                expected: Box::new(own),
                actual: Box::new(told),
            });
        }
        Some(_) if response.status() == StatusCode::CREATED => {}
        _ => {
            let is_visible = || is_manifest_visible(transport, repository, digest, tag);
            wait_until_visible(transport, repository, digest, is_visible).await?;
        }
    }
    match manifest.subject() {
        Some(subject) if !response.headers().contains_key("oci-subject") => {
            referrers::add_referrer(transport, repository, &subject, manifest).await
        }
        _ => Ok(()),
    }
}
