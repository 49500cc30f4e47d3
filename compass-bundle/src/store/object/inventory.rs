//! Lists the published bundles and the unfinished uploads in a bucket.

use compass_registry::NoProgress;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::address::ObjectAddress;
use super::client::{Client, ListedObject, RequestError};
use super::publish::read_small;
use super::upload::Target;
use crate::Error;
use crate::read::checksum_in;
use crate::store::stored_bundle::{StoredBundle, StoredFile, parse_path};
use crate::write::CHECKSUM_END;

/// Checksums that are read at once.
const CONCURRENT_READS: usize = 8;

/// An upload of a bundle that was not completed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnfinishedUpload {
    /// The URL that the bundle would have.
    pub url: String,
    /// The time of the start in the form of RFC 3339.
    pub started: String,
    /// The number of parts that have arrived.
    pub parts: usize,
    /// The size of these parts in bytes.
    pub size: u64,
    key: String,
    id: String,
}

/// Lists the published bundles below an address, in the order of their paths.
pub(super) async fn bundles(
    client: &Client,
    address: &ObjectAddress,
) -> Result<Vec<StoredBundle>, Error> {
    let prefix = prefix(address);
    let objects = client.list_objects(&prefix).await;
    let objects = objects.map_err(|error| Error::store("list", &address.shown, error))?;
    let bundles = objects.into_iter().filter(|object| is_bundle(object, &prefix));
    let read = bundles.map(|object| stored_bundle(client, address, object));
    let read = stream::iter(read).buffered(CONCURRENT_READS);
    read.try_filter_map(async |bundle| Ok(bundle)).try_collect().await
}

/// Finds the object at a path below an address.
pub(super) async fn find(
    client: &Client,
    address: &ObjectAddress,
    path: &str,
) -> Result<Option<StoredFile>, Error> {
    let ObjectAddress { key, shown: url, .. } = address.join(path);
    let stored = client.head(&key).await;
    let stored = stored.map_err(|error| Error::store("look at", &url, error))?;
    let Some(size) = stored.and_then(|stored| stored.size) else { return Ok(None) };
    let digest = match digest_of(client, &key).await {
        // S3 answers so for a missing object if the credentials do not permit lists.
        Err(error) if error.is_unavailable() => None,
        digest => digest.map_err(|error| Error::store("read the checksum of", &url, error))?,
    };
    Ok(Some(StoredFile { url, size, digest }))
}

fn is_bundle(object: &ListedObject, prefix: &str) -> bool {
    object.key.strip_prefix(prefix).is_some_and(|path| parse_path(path).is_some())
}

/// Describes an object. Returns `None` if it is not a bundle.
async fn stored_bundle(
    client: &Client,
    address: &ObjectAddress,
    object: ListedObject,
) -> Result<Option<StoredBundle>, Error> {
    let path = object.key.strip_prefix(&prefix(address)).unwrap_or_default();
    let Some((kind, name, version)) = parse_path(path) else { return Ok(None) };
    let url = address.join(path).shown;
    let digest = digest_of(client, &object.key).await;
    let digest = digest.map_err(|error| Error::store("read the checksum of", &url, error))?;
    let ListedObject { size, last_modified: published, .. } = object;
    Ok(Some(StoredBundle { kind, name, version, url, size, published, digest }))
}

/// Lists the unfinished uploads of bundles below an address.
pub(super) async fn unfinished(
    client: &Client,
    address: &ObjectAddress,
) -> Result<Vec<UnfinishedUpload>, Error> {
    let failed = |error: RequestError| Error::store("list the uploads of", &address.shown, error);
    let prefix = prefix(address);
    let mut uploads = Vec::new();
    for upload in client.list_uploads(&prefix).await.map_err(failed)? {
        let Some(path) = upload.key.strip_prefix(&prefix) else { continue };
        if parse_path(path).is_none() {
            continue;
        }
        let parts = match client.list_parts(&upload.key, &upload.upload_id).await {
            Err(error) if error.is_upload_gone() => continue,
            parts => parts.map_err(failed)?,
        };
        uploads.push(UnfinishedUpload {
            url: address.join(path).shown,
            started: upload.initiated,
            parts: parts.len(),
            size: parts.iter().filter_map(|part| part.checksum().size).sum(),
            key: upload.key,
            id: upload.upload_id,
        });
    }
    Ok(uploads)
}

/// Removes an unfinished upload and its parts.
pub(super) async fn abort(client: &Client, upload: &UnfinishedUpload) -> Result<(), Error> {
    let aborted = client.abort(&upload.key, &upload.id).await;
    aborted.map_err(|error| Error::store("abort the upload of", &upload.url, error))?;
    let target = Target { client, key: &upload.key, progress: &NoProgress };
    target.remove_markers(|id| id == upload.id).await;
    Ok(())
}

/// The digest in the `.sha256` beside an object. `None` if there is none, or it is invalid.
async fn digest_of(
    client: &Client,
    key: &str,
) -> Result<Option<compass_registry::Digest>, RequestError> {
    let text = read_small(client, &format!("{key}{CHECKSUM_END}")).await?;
    let name = key.rsplit('/').next().unwrap_or_default();
    Ok(text.and_then(|text| checksum_in(&text, name.as_bytes()).ok()))
}

/// The prefix of all keys below an address.
fn prefix(address: &ObjectAddress) -> String {
    match address.key.as_str() {
        "" => String::new(),
        key => format!("{key}/"),
    }
}
