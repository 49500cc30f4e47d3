//! What an image archive holds, whichever tool made it.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::io::{Error, ErrorKind};

use bytes::Bytes;
use compass_registry::Digest;

use super::gzip::Budget;
use super::peel::{Peeled, Reader, peel_within};
use super::walk::{Entry, KEPT, in_file, named_digest};

/// Entries of one image archive.
const MAX_ENTRIES: usize = 100_000;

/// Links that lead to links.
const MAX_LINKS: usize = 8;

/// Bytes of small entries that are kept of one archive.
const MAX_KEPT: usize = 32 << 20;

/// Bytes that are kept of a whole package.
const MAX_KEPT_OF_ALL: usize = 256 << 20;

/// What to do with images that no registry takes.
pub(super) const ANCIENT: &str =
    "a Docker before 1.10 saved it, and no registry takes that: load and save it with a newer one";

/// What a name takes beside its bytes, about.
const NAME: usize = 200;

/// What may still be kept of a package, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(MAX_KEPT_OF_ALL)
    }
}

impl Room {
    /// Makes room for a name and what is kept with it.
    pub(super) fn take(&mut self, name: &str, kept: usize) -> std::io::Result<()> {
        match self.0.checked_sub(name.len() + NAME + kept) {
            Some(left) => self.0 = left,
            None => {
                let reason = "it holds more names and text than can be kept in mind";
                return Err(Error::new(ErrorKind::Unsupported, reason));
            }
        }
        Ok(())
    }
}

/// The entries of an archive, by path.
#[derive(Debug, Default)]
pub(super) struct ScannedArchive {
    entries: HashMap<String, ScannedEntry>,
    links: HashMap<String, String>,
    kept: usize,
}

/// A file in an archive.
#[derive(Debug)]
pub(super) struct ScannedEntry {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// The content where it may be JSON, otherwise the first bytes.
    pub(super) head: Bytes,
}

impl ScannedEntry {
    pub(super) fn is_gzip(&self) -> bool {
        self.head.starts_with(&[0x1f, 0x8b])
    }
}

impl ScannedArchive {
    pub(super) async fn take(
        &mut self,
        mut entry: Entry,
        (room, budget): (&mut Room, &Budget),
    ) -> std::io::Result<()> {
        if self.entries.len() + self.links.len() >= MAX_ENTRIES {
            let reason = "an image archive holds too many files";
            return Err(Error::new(ErrorKind::Unsupported, reason));
        }
        if !entry.is_file {
            return self.link(&entry, room);
        }
        let (reader, sum) = entry.hashed();
        // What is named by its digest needs no other proof.
        let proved = match named_digest(&entry.path) {
            Some(_) => Ok(()),
            None => inflate(reader, budget).await,
        };
        sum.drain().await?;
        proved.map_err(|error| in_file(&entry.path, &error))?;
        let head = sum.kept();
        let (digest, size) = sum.finish();
        self.add_blob(entry.path, (digest, size, head), room)
    }

    pub(super) fn add_blob(
        &mut self,
        path: String,
        (digest, size, head): (Digest, u64, Bytes),
        room: &mut Room,
    ) -> std::io::Result<()> {
        let is_whole = head.len() as u64 == size && size <= KEPT as u64;
        let is_json = is_whole && matches!(head.first(), Some(b'{' | b'['));
        let keep = is_json && self.kept + head.len() <= MAX_KEPT;
        let head = match keep {
            true => head,
            false => Bytes::copy_from_slice(&head[..head.len().min(4)]),
        };
        room.take(&path, head.len())?;
        self.kept += head.len();
        match self.entries.entry(path) {
            // Twice the same is as good as once.
            Occupied(there) if there.get().digest == digest => Ok(()),
            Occupied(there) => {
                let reason = "it is there twice, and one of them does not count";
                Err(in_file(there.key(), &Error::new(ErrorKind::Unsupported, reason)))
            }
            Vacant(free) => {
                free.insert(ScannedEntry { digest, size, head });
                Ok(())
            }
        }
    }

    pub(super) fn link(&mut self, entry: &Entry, room: &mut Room) -> std::io::Result<()> {
        if let Some(target) = &entry.link {
            room.take(&entry.path, target.len())?;
            self.links.insert(entry.path.clone(), target.clone());
        }
        Ok(())
    }

    /// An entry, and its own path: links within the archive are followed, as old Docker made them.
    pub(super) fn get(&self, path: &str) -> Option<(&str, &ScannedEntry)> {
        let mut path = path.trim_start_matches("./");
        for _ in 0..MAX_LINKS {
            if let Some((path, entry)) = self.entries.get_key_value(path) {
                return Some((path, entry));
            }
            path = self.links.get(path)?;
        }
        None
    }

    /// Whether it holds images.
    pub(super) fn is_image(&self) -> bool {
        self.entries.contains_key("manifest.json") || self.entries.contains_key("index.json")
    }

    /// Whether an OCI layout stands in a directory of it.
    pub(super) fn holds_layout(&self) -> bool {
        self.entries.keys().any(|path| path.ends_with("/oci-layout"))
    }

    /// Whether it is what Docker saved before 1.10, with images of another kind.
    pub(super) fn is_ancient(&self) -> bool {
        !self.is_image() && self.entries.contains_key("repositories")
    }

    /// Why there are no images, where some should be.
    pub(super) fn why_no_image(&self) -> &'static str {
        match self.is_ancient() {
            true => ANCIENT,
            false => "it is named as an image archive, and has no manifest.json or index.json",
        }
    }
}

/// Reads compressed bytes to their end, which proves their checksum.
async fn inflate(reader: Reader, budget: &Budget) -> std::io::Result<()> {
    if let Peeled::Tar(mut inflated) = peel_within(reader, budget).await? {
        tokio::io::copy(&mut inflated, &mut tokio::io::sink()).await?;
    }
    Ok(())
}
