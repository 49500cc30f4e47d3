//! What an image archive holds, whichever tool made it.

use std::collections::HashMap;
use std::io::{Error, ErrorKind};

use bytes::Bytes;
use compass_registry::Digest;

use super::walk::{Entry, KEPT};

/// Entries of one image archive.
const MAX_ENTRIES: usize = 100_000;

/// Links that lead to links.
const MAX_LINKS: usize = 8;

/// Bytes of small entries that are kept of one archive.
const MAX_KEPT: usize = 32 << 20;

/// Bytes that are kept of a whole package.
const MAX_KEPT_OF_ALL: usize = 256 << 20;

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
    pub(super) async fn take(&mut self, mut entry: Entry, room: &mut Room) -> std::io::Result<()> {
        if self.entries.len() + self.links.len() >= MAX_ENTRIES {
            let reason = "an image archive holds too many files";
            return Err(Error::new(ErrorKind::Unsupported, reason));
        }
        if !entry.is_file {
            return self.link(&entry, room);
        }
        let (_, sum) = entry.hashed();
        sum.drain().await?;
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
        self.entries.insert(path, ScannedEntry { digest, size, head });
        Ok(())
    }

    pub(super) fn link(&mut self, entry: &Entry, room: &mut Room) -> std::io::Result<()> {
        if let Some(link) = &entry.link {
            room.take(&entry.path, link.len())?;
            let target = match link.starts_with("../") || !link.contains('/') {
                true => resolve(&entry.path, link),
                false => Some(link.clone()),
            };
            self.links.extend(target.map(|target| (entry.path.clone(), target)));
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
}

/// A path beside another; nothing where it leads out of the archive.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut steps: Vec<&str> = from.split('/').collect();
    steps.pop();
    for step in link.split('/') {
        match step {
            ".." => drop(steps.pop()?),
            "." | "" => {}
            step => steps.push(step),
        }
    }
    Some(steps.join("/"))
}
