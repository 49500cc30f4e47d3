//! Mounting blobs (distribution specification, § Mounting a blob from another repository).

use reqwest::{Method, StatusCode};

use super::pull::digest_header;
use super::push::PUSH;
use super::transport::{Transport, is_success};
use super::upload_session::Session;
use crate::{Descriptor, Error, Repository};

/// Mounts a blob from another repository, and returns whether that succeeded.
///
/// A registry that does not mount the blob opens an upload session instead, which
/// [`put_blob`](super::upload::put_blob) uses later.
pub(super) async fn mount_blob(
    transport: &Transport,
    from: &Repository,
    to: &Repository,
    descriptor: &Descriptor,
) -> Result<bool, Error> {
    let mut request = transport.request(Method::POST, to, "blobs/uploads/", PUSH);
    request
        .url
        .query_pairs_mut()
        .append_pair("mount", &descriptor.digest.to_string())
        .append_pair("from", from.as_str());
    request.scope = format!("{} repository:{from}:pull", request.scope);
    // If mounting fails, uploading may still succeed, and is retried if necessary.
    let Ok(response) = transport.send_without_retry(&request, is_success).await else {
        return Ok(false);
    };
    if response.status() == StatusCode::CREATED {
        let told = digest_header(&response);
        return Ok(told.is_none_or(|told| {
            told == descriptor.digest || told.algorithm() != descriptor.digest.algorithm()
        }));
    }
    if let Ok(upload) = transport.resolve_location(&request.url, &response) {
        transport.pending_uploads().add(to, Some(descriptor.digest), upload);
    }
    Ok(false)
}

/// Cancels the upload session of a declined mount, because the blob exists already.
pub(super) async fn cancel_pending_mount_upload(
    transport: &Transport,
    repository: &Repository,
    descriptor: &Descriptor,
) {
    let url = transport.pending_uploads().take_own(repository, descriptor.digest);
    Session { transport, repository, url }.cancel().await;
}
