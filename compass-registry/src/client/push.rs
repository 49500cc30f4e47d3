//! Pushing (distribution specification, § Push): one request that opens an upload, and one that
//! streams the blob.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Body, Method, StatusCode};

use super::transport::{Request, Transport};
use crate::retry::SILENCE;
use crate::{Descriptor, Error, RawManifest, Repository, Tag, VerifiedBlob};

/// Both actions: the token that looks for a blob then also writes it.
const PUSH: &str = "pull,push";

/// How long a registry may take to answer after the last byte: it may copy the blob to an object
/// storage first.
const COMMIT: Duration = Duration::from_mins(15);

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

pub(super) async fn put_blob(
    transport: &Transport,
    repository: &Repository,
    blob: VerifiedBlob,
) -> Result<(), Error> {
    let open = transport.request(Method::POST, repository, "blobs/uploads/", PUSH);
    let response = transport.send(&open, &[StatusCode::ACCEPTED]).await?;
    let descriptor = blob.descriptor().clone();
    let mut url = transport.location(&open.url, &response)?;
    url.query_pairs_mut().append_pair("digest", &descriptor.digest.to_string());

    let mut request = Request { method: Method::PUT, url, ..open };
    request.headers.insert(CONTENT_LENGTH, descriptor.size.into());
    request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let watch = Arc::new(Mutex::new(Watch { last: Instant::now(), ended: false, failure: None }));
    let body = watched(blob, Arc::clone(&watch));
    let sent = tokio::select! {
        sent = transport.put_stream(&request, body, &[StatusCode::CREATED]) => sent,
        elapsed = silence(&watch) => Err(transport.unreachable(&request, elapsed)),
    };
    // Where the blob itself failed, the broken connection is only what follows from it.
    let failure = watch.lock().unwrap_or_else(PoisonError::into_inner).failure.take();
    match failure {
        Some(error) => Err(error),
        None => sent.map(|_| ()),
    }
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
    let stored = response.headers().get("docker-content-digest");
    match stored.and_then(|value| value.to_str().ok()?.parse().ok()) {
        Some(actual) if actual != digest => Err(Error::DigestMismatch {
            what: format!("{}/{repository}:{locator} as the registry stored it", transport.host()),
            expected: Box::new(digest),
            actual: Box::new(actual),
        }),
        _ => Ok(()),
    }
}

/// What is known of a body on its way.
struct Watch {
    last: Instant,
    ended: bool,
    failure: Option<Error>,
}

/// A body that keeps its own error, which the HTTP library would turn into a text.
fn watched(blob: VerifiedBlob, watch: Arc<Mutex<Watch>>) -> Body {
    let end = Arc::clone(&watch);
    let chunks = blob.map(move |chunk| {
        let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.last = Instant::now();
        chunk.map_err(|error| {
            watch.failure = Some(error);
            std::io::Error::other("the blob cannot be read")
        })
    });
    let end = futures_util::stream::poll_fn(move |_| {
        end.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        std::task::Poll::Ready(None)
    });
    Body::wrap_stream(chunks.chain(end))
}

/// Ends when nothing has moved for too long.
async fn silence(watch: &Mutex<Watch>) -> std::io::Error {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
        // The blob's own source watches itself; twice its patience leaves it the first word.
        let limit = if watch.ended { COMMIT } else { SILENCE * 2 };
        if watch.last.elapsed() > limit {
            return std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                "the registry takes no more bytes",
            );
        }
    }
}
