//! The single pass over a package that finds its files, archives and problems.

use std::collections::{HashMap, HashSet};
use std::io::{Error, ErrorKind, Result};

use bytes::Bytes;
use compass_registry::{Algorithm, Digest};

use super::ForeignFile;
use super::archive::{MemoryLimit, ScannedArchive, ScannedEntry, UNLISTED};
use super::compression::has_tar_suffix;
use super::decompress::{Decoded, Decompressed, decode, decompress, unsupported_reason};
use super::entry_content::{EntryContent, MAX_NON_TAR, finish_compressed};
use super::hashing_reader::HashingReader;
use super::limits::Limits;
use super::probe::NestedContent;
use super::reader::Reader;
use super::tar_entries::{EntryKind, NOT_A_FILE, TarEntries, TarEntry, in_entry};
use crate::format::naming::ARCHIVE_SUFFIX;

/// Maximum size of a YAML file that is kept: the limit for release manifests.
const MAX_YAML: u64 = 4 << 20;

/// Maximum number of files of a package.
const MAX_FILES: usize = 100_000;

/// The result of a scan.
#[derive(Default)]
pub(super) struct Scan {
    /// The index of the package itself, which may be an image archive.
    pub(super) root: ScannedArchive,
    pub(super) files: Vec<ForeignFile>,
    pub(super) archives: Vec<(String, ScannedArchive)>,
    /// Entries that cannot be unpacked, and why.
    pub(super) unsafe_entries: Vec<(String, &'static str)>,
    /// Files that may contain images but are not read, and why.
    pub(super) unread_files: Vec<(String, String)>,
    /// Notes about files.
    pub(super) notes: Vec<(String, String)>,
    directories: HashSet<String>,
    /// Files that could not be inspected.
    pub(super) errors: Vec<ScanError>,
    memory: MemoryLimit,
    limits: Limits,
}

/// A file that could not be inspected.
pub(super) struct ScanError {
    pub(super) path: String,
    pub(super) reason: Error,
}

/// The content of a file of the package.
struct InspectedFile {
    content: EntryContent,
    archive: Result<Option<ScannedArchive>>,
}

impl Scan {
    /// Reads a package to its end.
    pub(super) async fn read(tar: Reader, limits: Limits) -> Result<Self> {
        let mut entries = TarEntries::new(tar, &limits).await?;
        let mut scan = Self { limits, ..Self::default() };
        while let Some(entry) = entries.next().await? {
            scan.visit(entry).await?;
        }
        let lost = scan.root.links().filter(|(_, file)| file.is_none());
        scan.unsafe_entries.extend(lost.map(|(path, _)| (path.to_owned(), NOT_A_FILE)));
        scan.unsafe_entries.extend(scan.conflicts());
        scan.add_linked_files();
        Ok(scan)
    }

    /// Paths that cannot exist together in a file system.
    fn conflicts(&self) -> Vec<(String, &'static str)> {
        let links = self.root.links().map(|(path, _)| path);
        let files: HashSet<_> = self.root.entries().map(|(path, _)| path).chain(links).collect();
        let directories = self.directories.iter().map(String::as_str);
        let above =
            |path: &str| path.match_indices('/').any(|(end, _)| files.contains(&path[..end]));
        let twice = directories.clone().filter(|path| files.contains(path));
        let below = files.iter().copied().chain(directories).filter(|path| above(path));
        let twice = twice.map(|path| (path.to_owned(), "exists twice"));
        let mut found: Vec<_> =
            twice.chain(below.map(|path| (path.to_owned(), "is below a file"))).collect();
        found.sort_unstable();
        found
    }

    async fn visit(&mut self, entry: TarEntry) -> Result<()> {
        let count =
            self.files.len() + self.archives.len() + self.errors.len() + self.unsafe_entries.len();
        if count >= MAX_FILES {
            return Err(Error::other("it contains too many files"));
        }
        if let Some(reason) = entry.unsafe_reason() {
            self.memory.reserve(&entry.path.text, reason.len())?;
            self.unsafe_entries.push((entry.path.text.clone(), reason));
        }
        if entry.kind == EntryKind::Directory && !entry.path.is_top() {
            self.memory.reserve(&entry.path.text, 0)?;
            self.directories.insert(entry.path.text.clone());
        }
        if !entry.is_file() {
            return self.root.link(&entry, &mut self.memory);
        }
        let path = entry.path.text.clone();
        let raw = entry.start_hashing();
        let before = self.memory;
        let inspected = inspect_file(&path, &raw, &mut self.memory, &self.limits).await;
        let is_image = matches!(&inspected.archive, Ok(Some(archive)) if archive.is_image());
        if !is_image {
            // Nothing is kept of files that are not image archives.
            self.memory = before;
        }
        // Returns errors of the package; those of the file are in `inspected`.
        raw.skip_rest().await.map_err(|error| in_entry(&path, &error))?;
        self.add(path, &raw, inspected)
    }

    fn add(&mut self, path: String, raw: &HashingReader, inspected: InspectedFile) -> Result<()> {
        let (head, digests) = (raw.take_head(), raw.finish());
        let is_plain = matches!(inspected.archive, Ok(None));
        let yaml = is_plain.then(|| kept_yaml(&path, digests.size, &head)).flatten();
        self.memory.reserve(&path, yaml.as_ref().map_or(0, Bytes::len))?;
        if let Some(reason) = unread_reason(&path, &inspected) {
            self.unread_files.push((path.clone(), reason));
        }
        let (content, inside) = (inspected.content, NestedContent::Nothing);
        let entry = ScannedEntry { digests, head, content, inside };
        self.root.add(path.clone(), entry, &mut self.memory)?;
        match inspected.archive {
            Ok(Some(archive)) if archive.is_image() => self.archives.push((path, archive)),
            Ok(other) => {
                let note =
                    other.and_then(|archive| unread_archives_note(&archive, &HashSet::new()));
                self.notes.extend(note.map(|note| (path.clone(), note)));
                let (size, digest) = (digests.size, digests.named);
                self.files.push(ForeignFile { path, size, digest, yaml });
            }
            Err(reason) => {
                self.memory.reserve("", reason.to_string().len())?;
                self.errors.push(ScanError { path, reason });
            }
        }
        Ok(())
    }

    /// Adds links to files as files with the same content.
    fn add_linked_files(&mut self) {
        let files: HashMap<_, _> =
            self.files.iter().map(|file| (file.path.as_str(), file)).collect();
        let links = self.root.links().filter_map(|(path, target)| {
            let file = files.get(target?)?;
            Some(ForeignFile { path: path.to_owned(), ..(*file).clone() })
        });
        let mut linked: Vec<_> = links.collect();
        linked.sort_by(|one, other| one.path.cmp(&other.path));
        self.files.extend(linked);
    }
}

async fn inspect_file(
    path: &str,
    raw: &HashingReader,
    memory: &mut MemoryLimit,
    limits: &Limits,
) -> InspectedFile {
    let opened = match decode(raw.reader(), limits).await {
        Ok(opened) => opened,
        Err(error) => {
            let content = EntryContent::Unreadable(error.to_string());
            return InspectedFile { content, archive: Err(error) };
        }
    };
    match opened {
        Decoded::Unsupported(name) => InspectedFile {
            content: EntryContent::Unsupported(name),
            archive: archive_or_file(path, None),
        },
        Decoded::Undecodable(_) => {
            InspectedFile { content: EntryContent::Plain, archive: archive_or_file(path, None) }
        }
        Decoded::Plain(reader) => {
            let archive = read_archive(path, reader, memory, limits).await;
            InspectedFile { content: EntryContent::Plain, archive }
        }
        Decoded::Compressed(compression, reader) => {
            let hashed = HashingReader::new(reader);
            hashed.start_hashing(Algorithm::Sha256, 0);
            let archive = read_archive(path, hashed.reader(), memory, limits).await;
            let limit = if matches!(archive, Ok(None)) { MAX_NON_TAR } else { u64::MAX };
            let content = finish_compressed(&hashed, compression, limit).await;
            InspectedFile { content, archive }
        }
    }
}

/// Indexes an archive. Returns `None` for other files, and an error if the name of such a file ends
/// in `-image.tar.gz`.
async fn read_archive(
    path: &str,
    reader: Reader,
    memory: &mut MemoryLimit,
    limits: &Limits,
) -> Result<Option<ScannedArchive>> {
    let Decompressed::Tar(tar) = decompress(reader, limits).await? else {
        return archive_or_file(path, None);
    };
    let mut archive = ScannedArchive::default();
    let mut entries = TarEntries::new(tar, limits).await?;
    while let Some(entry) = entries.next().await? {
        archive.visit(entry, memory, limits).await?;
    }
    if archive.is_image() && archive.is_too_large() {
        let reason = "an image archive contains too many files";
        return Err(Error::new(ErrorKind::Unsupported, reason));
    }
    archive_or_file(path, Some(archive))
}

/// Returns an error if the file's name says that it is an image archive but its content does not.
fn archive_or_file(path: &str, archive: Option<ScannedArchive>) -> Result<Option<ScannedArchive>> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let must_be_image = name.ends_with(ARCHIVE_SUFFIX) && !name.starts_with("._");
    match &archive {
        None if must_be_image => Err(Error::other(
            "its name says that it is an image archive, but it is not a tar archive",
        )),
        Some(archive) if must_be_image && !archive.is_image() => {
            Err(Error::other(archive.no_image_reason()))
        }
        _ => Ok(archive),
    }
}

/// Why a file may contain images that are not read.
fn unread_reason(path: &str, inspected: &InspectedFile) -> Option<String> {
    match (&inspected.archive, &inspected.content) {
        (Ok(None), EntryContent::Unsupported(name)) if has_tar_suffix(path) => {
            Some(unsupported_reason(name))
        }
        (Ok(None), _) if has_tar_suffix(path) => {
            Some("has the name of a tar archive, but is not one".to_owned())
        }
        (Ok(Some(archive)), _) if archive.is_pre_1_10() && archive.has_pre_1_10_layers() => {
            let reason = "is an image archive that a Docker older than 1.10 saved, which registries do not accept: \
                          load and save it with a newer one";
            Some(reason.to_owned())
        }
        (Ok(Some(archive)), _) if archive.has_unlisted_images() => Some(UNLISTED.to_owned()),
        (Ok(Some(archive)), _) if !archive.is_image() => {
            unread_images_reason(archive, &HashSet::new(), &HashSet::new())
        }
        _ => None,
    }
}

/// Why images in directories and nested archives are not read, or `None` if there are none. Images
/// whose manifest digests are `known` exist elsewhere in the package.
pub(super) fn unread_images_reason(
    archive: &ScannedArchive,
    used: &HashSet<String>,
    known: &HashSet<Digest>,
) -> Option<String> {
    let directories = archive.image_directories().filter(|(_, description)| {
        !listed_digests(&description.head).is_some_and(|listed| listed.is_subset(known))
    });
    if let Some((directory, _)) = directories.min_by_key(|(directory, _)| *directory) {
        let directory = directory.escape_debug();
        return Some(format!(
            "contains an image in its directory `{directory}`, which is not read: archive that \
             directory (`tar -C {directory} -cf IMAGE.tar .`)"
        ));
    }
    let inner = archive
        .entries()
        .filter(|(path, entry)| entry.inside == NestedContent::Image && !used.contains(*path));
    let inner = inner.map(|(path, _)| path).min()?.escape_debug();
    Some(format!(
        "contains an image archive, `{inner}`, which is not read: unpack it, and package the archives in it"
    ))
}

/// A note about the first file that contains compressed archives, which are not searched.
pub(super) fn unread_archives_note(
    archive: &ScannedArchive,
    used: &HashSet<String>,
) -> Option<String> {
    let inner = archive.entries().filter(|(_, entry)| entry.inside == NestedContent::Archives);
    let inner = inner.map(|(path, _)| path).filter(|path| !used.contains(*path)).min()?;
    let inner = inner.escape_debug();
    Some(format!(
        "archives in its archive `{inner}` are not searched, and images in them are not read"
    ))
}

/// The manifests that the index of a layout lists.
fn listed_digests(index: &[u8]) -> Option<HashSet<Digest>> {
    #[derive(serde::Deserialize)]
    struct Index {
        manifests: Vec<Listed>,
    }
    #[derive(serde::Deserialize)]
    struct Listed {
        digest: Digest,
    }
    let index: Index = serde_json::from_slice(index).ok()?;
    Some(index.manifests.into_iter().map(|listed| listed.digest).collect())
}

fn kept_yaml(path: &str, size: u64, head: &Bytes) -> Option<Bytes> {
    let is_yaml = [".yaml", ".yml"].iter().any(|end| path.ends_with(end));
    (is_yaml && size <= MAX_YAML).then(|| head.clone())
}
