//! The index of an archive's entries: of the package, or of an archive in it.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::io::{Error, ErrorKind, Result};

use bytes::Bytes;
use compass_registry::Digest;

use super::entry_content::{EntryContent, read_content};
use super::entry_path::{EntryPath, SEPARATORS};
use super::hashing_reader::{Digests, MAX_HEAD};
use super::limits::Limits;
use super::manifest_format::{ManifestFormat, has_images, manifest_format};
use super::probe::NestedContent;
use super::tar_entries::{EntryKind, TarEntry, in_entry, in_file};

/// Maximum number of entries that are indexed for one archive.
const MAX_ENTRIES: usize = 100_000;

/// Maximum length of a chain of links.
const MAX_LINKS: usize = 8;

/// Maximum total size in bytes of the small entries that are kept for one archive.
const MAX_KEPT: usize = 32 << 20;

/// Maximum memory in bytes for the names and small entries of a whole package.
const MAX_KEPT_OF_PACKAGE: usize = 256 << 20;

/// Reason for an archive that contains blobs of images but does not list them.
pub(super) const UNLISTED: &str =
    "contains image layers, but no manifest.json or index.json that lists them";

/// The file that marks an OCI layout (OCI image specification, "Image Layout").
pub(super) const OCI_LAYOUT: &str = "oci-layout";

/// Reason and advice for images in the format that Docker used before version 1.10.
pub(super) const PRE_1_10: &str = "it was saved by a Docker older than 1.10 in a format that \
                                   registries do not accept: load and save it with a newer Docker";

/// Approximate memory for an indexed name in addition to its bytes.
const NAME_OVERHEAD: usize = 200;

/// Memory that is left for the index of a package, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemoryLimit(usize);

impl Default for MemoryLimit {
    fn default() -> Self {
        Self(MAX_KEPT_OF_PACKAGE)
    }
}

impl MemoryLimit {
    /// Reserves memory for a name and the content kept with it.
    ///
    /// # Errors
    /// `Unsupported` if the limit is exceeded.
    pub(super) fn reserve(&mut self, name: &str, kept: usize) -> Result<()> {
        match self.0.checked_sub(name.len() + NAME_OVERHEAD + kept) {
            Some(left) => self.0 = left,
            None => {
                let reason = "its file names and metadata exceed the limit of 256 MiB";
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
    /// The archive has more entries than are indexed.
    is_too_large: bool,
}

/// An indexed file of an archive.
#[derive(Debug)]
pub(super) struct ScannedEntry {
    pub(super) digests: Digests,
    /// The whole content if it may be JSON, otherwise its first bytes.
    pub(super) head: Bytes,
    pub(super) content: EntryContent,
    /// The images or archives in the content, if it is an archive.
    pub(super) inside: NestedContent,
}

impl ScannedEntry {
    pub(super) fn has_full_content(&self) -> bool {
        self.head.len() as u64 == self.digests.size
    }

    /// Size in bytes, as stored in the archive.
    pub(super) fn size(&self) -> u64 {
        self.digests.size
    }

    /// The SHA-256 of the decompressed content.
    pub(super) fn diff_id(&self) -> Option<Digest> {
        match &self.content {
            EntryContent::Plain => Some(self.digests.sha256),
            EntryContent::Compressed { digest, .. } => Some(*digest),
            _ => None,
        }
    }
}

impl ScannedArchive {
    /// Indexes an entry of an archive.
    pub(super) async fn visit(
        &mut self,
        entry: TarEntry,
        memory: &mut MemoryLimit,
        limits: &Limits,
    ) -> Result<()> {
        let is_description = matches!(entry.path.text.as_str(), "manifest.json" | "index.json");
        if self.is_full() && !is_description {
            return Ok(());
        }
        if !entry.is_file() {
            return self.link(&entry, memory);
        }
        let raw = entry.start_hashing();
        let (content, inside) = read_content(&raw, limits).await;
        raw.skip_rest().await.map_err(|error| in_entry(&entry.path.text, &error))?;
        let (head, digests) = (raw.take_head(), raw.finish());
        self.add(entry.path.text, ScannedEntry { digests, head, content, inside }, memory)
    }

    /// Whether the index is full. Only image archives must be indexed completely.
    fn is_full(&mut self) -> bool {
        self.is_too_large |= self.entries.len() + self.links.len() >= MAX_ENTRIES;
        self.is_too_large
    }

    /// Indexes a file. Of content other than JSON, only the first bytes are kept.
    pub(super) fn add(
        &mut self,
        path: String,
        mut entry: ScannedEntry,
        memory: &mut MemoryLimit,
    ) -> Result<()> {
        let head = &entry.head;
        let is_whole = entry.has_full_content() && head.len() <= MAX_HEAD;
        let is_json = is_whole && matches!(head.trim_ascii_start().first(), Some(b'{' | b'['));
        if !is_json || self.kept + head.len() > MAX_KEPT {
            entry.head = Bytes::copy_from_slice(&head[..head.len().min(4)]);
        }
        memory.reserve(&path, entry.head.len())?;
        self.kept += entry.head.len();
        match self.entries.entry(path) {
            // Identical duplicates are harmless: every reader sees the same content.
            Occupied(present) if present.get().digests == entry.digests => Ok(()),
            Occupied(present) => {
                let reason = "it exists twice with different content";
                Err(in_file(present.key(), &Error::new(ErrorKind::Unsupported, reason)))
            }
            Vacant(free) => {
                free.insert(entry);
                Ok(())
            }
        }
    }

    pub(super) fn link(&mut self, entry: &TarEntry, memory: &mut MemoryLimit) -> Result<()> {
        if let EntryKind::Link(Some(EntryPath { text, .. })) = &entry.kind {
            memory.reserve(&entry.path.text, text.len())?;
            self.links.insert(entry.path.text.clone(), text.clone());
        }
        Ok(())
    }

    /// Returns the entry that a path resolves to, and the path of the entry.
    ///
    /// Follows links within the archive, which old Docker versions write, and accepts either path
    /// separator.
    pub(super) fn get(&self, path: &str) -> Option<(&str, &ScannedEntry)> {
        let plain = EntryPath::new(path.as_bytes()).ok()?.text;
        self.follow(&plain).or_else(|| self.follow(&plain.replace('\\', "/"))).or_else(|| {
            let written = plain.replace('/', "\\");
            self.follow(&written)
        })
    }

    fn follow(&self, path: &str) -> Option<(&str, &ScannedEntry)> {
        let mut path = path;
        for _ in 0..MAX_LINKS {
            if let Some((path, entry)) = self.entries.get_key_value(path) {
                return Some((path, entry));
            }
            path = self.links.get(path)?;
        }
        None
    }

    /// All entries with their paths.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &ScannedEntry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// All links, and the file that each one resolves to.
    pub(super) fn links(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.links.keys().map(|path| (path.as_str(), self.follow(path).map(|(path, _)| path)))
    }

    /// Whether this is an image archive: its top level lists images or marks an OCI layout.
    pub(super) fn is_image(&self) -> bool {
        let describes =
            |path: &str| self.format_of(path).is_some_and(|d| d != ManifestFormat::Unrelated);
        describes("manifest.json") || describes("index.json") || self.follow(OCI_LAYOUT).is_some()
    }

    /// Whether the archive has more entries than are indexed.
    pub(super) fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// The format of a metadata file, or `None` if the file does not exist.
    pub(super) fn format_of(&self, path: &str) -> Option<ManifestFormat> {
        let (_, entry) = self.follow(path)?;
        Some(manifest_format(path, &entry.head))
    }

    /// The directories that contain images, and the metadata file of each.
    pub(super) fn image_directories(&self) -> impl Iterator<Item = (&str, &ScannedEntry)> {
        self.entries.iter().filter_map(|(path, entry)| {
            let (directory, name) = path.rsplit_once(SEPARATORS)?;
            let separator = &path[directory.len()..path.len() - name.len()];
            let beside = |file: &str| format!("{directory}{separator}{file}");
            let has = |file: &str| self.entries.contains_key(&beside(file));
            if name == OCI_LAYOUT && !has("index.json") {
                return Some((directory, entry));
            }
            let is_description = matches!(name, "manifest.json" | "index.json");
            let is_layout = || has(OCI_LAYOUT);
            let found = is_description.then(|| manifest_format(name, &entry.head))?;
            let is_image = match found {
                ManifestFormat::Unrelated => false,
                ManifestFormat::OciIndex => is_layout(),
                ManifestFormat::Docker => has_images(&entry.head),
                ManifestFormat::SkopeoDir => true,
            };
            is_image.then_some((directory, entry))
        })
    }

    /// Whether Docker before 1.10 saved this archive.
    pub(super) fn is_pre_1_10(&self) -> bool {
        !self.is_image()
            && (self.entries.contains_key("repositories") || self.has_pre_1_10_layers())
    }

    /// Whether the archive has layers as Docker before 1.10 saved them: `<id>/layer.tar` beside
    /// `<id>/json`.
    pub(super) fn has_pre_1_10_layers(&self) -> bool {
        let has = |path: String| self.entries.contains_key(&path);
        let is_layer = |path: &String| {
            let directory = path.strip_suffix("/layer.tar");
            directory.is_some_and(|id| has(format!("{id}/VERSION")) || has(format!("{id}/json")))
        };
        self.entries.keys().any(is_layer)
    }

    /// Whether the archive contains blobs of images, by their usual names, but no list of images.
    pub(super) fn has_unlisted_images(&self) -> bool {
        let is_hex = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let any = |start: &str, end: &str| {
            let name = |path: &'_ String| {
                path.strip_prefix(start).and_then(|path| path.strip_suffix(end)).is_some_and(is_hex)
            };
            self.entries.keys().any(name)
        };
        let has_parts = any("blobs/sha256/", "")
            || any("", "/layer.tar")
            || (any("", ".tar") && any("", ".json"));
        has_parts && !self.is_image()
    }

    /// Returns why the archive is not an image archive, for files whose name implies that they are
    /// one.
    pub(super) fn no_image_reason(&self) -> &'static str {
        match self.is_pre_1_10() {
            true => PRE_1_10,
            false => {
                "its name says that it is an image archive, but it contains no manifest.json or \
                 index.json"
            }
        }
    }
}
