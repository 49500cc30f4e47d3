//! A store in a local directory.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use compass_registry::{Digest, Hasher, Progress};

use super::{Published, store_path};
use crate::Error;
use crate::format::document::BundleDocument;
use crate::part_file::PartFile;
use crate::read::check_sidecar;
use crate::write::write_checksum;

/// Bytes per read and write.
const CHUNK: usize = 512 << 10;

/// Publishes a bundle to a store in a local directory. Blocking.
///
/// # Errors
/// [`Error::Damaged`] if the bundle does not match the `.sha256` file beside it;
/// [`Error::Conflict`] if other bytes are published under the same name.
pub fn publish(
    bundle: &Path,
    document: &BundleDocument,
    store: &Path,
    progress: &dyn Progress,
) -> Result<Published, Error> {
    let path = store.join(store_path(document)?);
    if path.exists() {
        let digest = digest_of(bundle, progress)?;
        check_sidecar(bundle, digest)?;
        return confirm_identical(&path, digest, progress);
    }
    let directory = path.parent().unwrap_or(store);
    std::fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    let mut part = PartFile::create(&path)?;
    part.no_clobber();
    // Another process may have published it before this one got the lock.
    if path.exists() {
        drop(part);
        return publish(bundle, document, store, progress);
    }
    let mut copy = part.handle()?;
    let digest =
        read(bundle, progress, |chunk| copy.write_all(chunk).map_err(Error::io("write", &path)))?;
    check_sidecar(bundle, digest)?;
    match part.finish() {
        Err(Error::AlreadyExists { .. }) if path.is_file() => {
            return confirm_identical(&path, digest, progress);
        }
        finished => finished?,
    }
    write_checksum(&path, digest)?;
    published(&path, digest, false)
}

/// Checks that the published file has the expected digest. Blocking.
pub(super) fn confirm_identical(
    path: &Path,
    digest: Digest,
    progress: &dyn Progress,
) -> Result<Published, Error> {
    if digest_of(path, progress)? != digest {
        return Err(Error::Conflict { path: path.display().to_string() });
    }
    write_checksum(path, digest)?;
    published(path, digest, true)
}

fn published(path: &Path, digest: Digest, present: bool) -> Result<Published, Error> {
    let size = path.metadata().map_err(Error::io("read", path))?.len();
    Ok(Published { url: format!("file://{}", path.display()), size, digest, present })
}

pub(super) fn digest_of(path: &Path, progress: &dyn Progress) -> Result<Digest, Error> {
    read(path, progress, |_| Ok(()))
}

/// Reads a file once, and returns its digest.
fn read(
    path: &Path,
    progress: &dyn Progress,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Digest, Error> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    progress.add_total(file.metadata().map_err(Error::io("open", path))?.len());
    let mut hasher = Hasher::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = file.read(&mut chunk).map_err(Error::io("read", path))?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&chunk[..count]);
        take(&chunk[..count])?;
        progress.advance(count as u64);
    }
}
