//! Puts bundles where they are published. Published bundles never change.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use compass_registry::{Digest, Hasher, Progress};

use crate::document::{BundleDocument, Kind};
use crate::write::part_file::PartFile;
use crate::write::write_checksum;
use crate::{Error, naming};

/// Bytes that are copied at once.
const CHUNK: usize = 512 << 10;

/// What publishing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The bundle in the store.
    pub path: PathBuf,
    /// Digest of the file.
    pub digest: Digest,
    /// Whether the same bytes were there already.
    pub present: bool,
}

/// The path of a bundle below its store (bundle format, "Store layout").
pub fn store_path(document: &BundleDocument) -> PathBuf {
    let (name, version) = (&document.name, &document.version);
    let file = format!("{}.tar.gz", naming::stem(document.kind, name, version));
    let directory = match document.kind {
        Kind::Plugin => Path::new("plugins").join(name),
        Kind::Hotfix => Path::new("hotfixes").join("compass").join(base_version(version)),
        Kind::Product => Path::new("products").join(name).join(version),
    };
    directory.join(file)
}

/// The product version that a HOTFIXVERSION is for: what stands before its date.
fn base_version(version: &str) -> &str {
    let date = version.match_indices('-').find(|(at, _)| {
        let rest = &version[at + 1..];
        rest.len() >= 8 && rest.bytes().take(8).all(|byte| byte.is_ascii_digit())
    });
    date.map_or(version, |(at, _)| &version[..at])
}

/// Publishes a bundle to a store that is a directory. This blocks.
///
/// # Errors
/// [`Error::Conflict`] where other bytes are published under that name.
pub fn publish(
    bundle: &Path,
    document: &BundleDocument,
    store: &Path,
    progress: &dyn Progress,
) -> Result<Published, Error> {
    let path = store.join(store_path(document));
    if path.exists() {
        let digest = digest_of(bundle, progress)?;
        if digest_of(&path, progress)? != digest {
            return Err(Error::Conflict { path });
        }
        write_checksum(&path, digest)?;
        return Ok(Published { path, digest, present: true });
    }
    let directory = path.parent().unwrap_or(store);
    std::fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    let part = PartFile::create(&path)?;
    let mut copy = part.handle()?;
    let digest =
        read(bundle, progress, |chunk| copy.write_all(chunk).map_err(Error::io("write", &path)))?;
    part.finish()?;
    write_checksum(&path, digest)?;
    Ok(Published { path, digest, present: false })
}

fn digest_of(path: &Path, progress: &dyn Progress) -> Result<Digest, Error> {
    read(path, progress, |_| Ok(()))
}

/// Reads a file once, and says its digest.
fn read(
    path: &Path,
    progress: &dyn Progress,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Digest, Error> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    progress.expect(file.metadata().map_err(Error::io("open", path))?.len());
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
