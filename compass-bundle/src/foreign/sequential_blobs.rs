//! The blobs of a package in the order of the file.

use std::collections::{HashMap, HashSet};

use compass_registry::Digest;

use super::decompress::{Decompressed, decompress};
use super::limits::Limits;
use super::reader::Reader;
use super::tar_entries::TarEntries;
use super::{ForeignPackage, decompressed_blob};
use crate::Error;

/// Path of the archive in the package, and path of the entry.
type EntryLocation = (Option<String>, String);

/// Reads a package once and returns its blobs in order. Each blob must be read before the next
/// call.
pub(crate) struct SequentialBlobs {
    package: TarEntries,
    /// The image archive that is being read, and its path.
    archive: Option<(String, TarEntries)>,
    archives: HashSet<String>,
    /// The digest of each blob, and whether it is the decompressed content of its entry.
    blobs: HashMap<EntryLocation, (Digest, bool)>,
    limits: Limits,
}

impl SequentialBlobs {
    /// Opens the package at its start.
    pub(crate) async fn open(package: &ForeignPackage) -> Result<Self, Error> {
        let limits = Limits::default();
        let blobs = package.0.blobs.iter().map(|(digest, at)| {
            ((at.archive.clone(), at.entry.clone()), (*digest, at.is_decompressed))
        });
        let blobs: HashMap<EntryLocation, _> = blobs.collect();
        let archives = blobs.keys().filter_map(|(archive, _)| archive.clone()).collect();
        let package = package.entries(&limits).await?;
        Ok(Self { package, archive: None, archives, blobs, limits })
    }

    pub(crate) async fn next(&mut self) -> std::io::Result<Option<(Digest, Reader)>> {
        loop {
            let (entry, archive) = match &mut self.archive {
                Some((path, archive)) => match archive.next().await? {
                    Some(entry) => (entry, Some(path.clone())),
                    None => {
                        self.archive = None;
                        continue;
                    }
                },
                None => match self.package.next().await? {
                    Some(entry) => (entry, None),
                    None => return Ok(None),
                },
            };
            if !entry.is_file() {
                continue;
            }
            let path = entry.path.text.clone();
            let is_archive = archive.is_none() && self.archives.contains(&path);
            let location = (archive, path);
            if let Some((digest, is_decompressed)) = self.blobs.remove(&location) {
                let blob = entry.into_reader();
                return Ok(Some(match is_decompressed {
                    true => (digest, decompressed_blob(blob, &self.limits).await?),
                    false => (digest, blob),
                }));
            }
            if is_archive
                && let Decompressed::Tar(tar) =
                    decompress(entry.into_reader(), &self.limits).await?
            {
                self.archive = Some((location.1, TarEntries::new(tar, &self.limits).await?));
            }
        }
    }
}
