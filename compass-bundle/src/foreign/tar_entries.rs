//! The entries of a tar archive, read in order and in bounded memory.

use std::io::{Cursor, Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use compass_registry::Algorithm;
use futures_util::StreamExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio_tar::{Archive, ArchiveBuilder, EntryType};

use super::decompress::is_tar;
use super::entry_path::{EntryPath, named_digest};
use super::hashing_reader::{HashingReader, MAX_HEAD};
use super::limits::Limits;
use super::padding;
use super::reader::Reader;
use super::sparse::SparseHeaders;
use crate::format::tar_entry::BLOCK;

/// Maximum bytes of headers and long names before an entry.
const MAX_HEADERS: u64 = 2 << 20;

/// Iterates over the entries of an archive. The end of the archive includes the end of the
/// compressed file around it, so that its checksum is verified.
pub(crate) struct TarEntries {
    archive: Archive<BoundedReader>,
    stream: tokio_tar::Entries<BoundedReader>,
    header_budget: Arc<AtomicU64>,
    limits: Limits,
    /// Path and content of the last entry. The path locates damage in messages.
    last: Option<(String, HashingReader)>,
}

/// An entry of an archive.
pub(crate) struct TarEntry {
    pub(crate) path: EntryPath,
    pub(crate) kind: EntryKind,
    pub(crate) mode: u32,
    content: HashingReader,
}

/// The type of an entry, as GNU tar interprets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Directory,
    /// A symbolic or hard link. `None` if the target is outside the archive.
    Link(Option<EntryPath>),
    Device,
}

/// An entry of the tar library.
type RawEntry = tokio_tar::Entry<Archive<BoundedReader>>;

/// Offset of the type in an entry's header.
const TYPE_OFFSET: usize = 156;

/// The type of the entry with the name of the volume, which only describes the archive.
const VOLUME_LABEL: EntryType = EntryType::Other(b'V');
/// The type of the continuation of a file in a multi-volume archive.
const VOLUME_PART: EntryType = EntryType::Other(b'M');
/// The type of a directory in an incremental archive.
const DUMPED_DIRECTORY: EntryType = EntryType::Other(b'D');

impl TarEntries {
    pub(crate) async fn new(tar: Reader, limits: &Limits) -> Result<Self> {
        let tar = without_label(tar).await?;
        let header_budget = Arc::new(AtomicU64::new(MAX_HEADERS));
        let bounded = BoundedReader { reader: tar, header_budget: Arc::clone(&header_budget) };
        let mut archive = ArchiveBuilder::new(bounded).build();
        let stream = archive.entries()?;
        Ok(Self { archive, stream, header_budget, limits: limits.clone(), last: None })
    }

    pub(crate) async fn next(&mut self) -> Result<Option<TarEntry>> {
        loop {
            if let Some((path, content)) = &self.last {
                content.skip_rest().await.map_err(|error| in_entry(path, &error))?;
            }
            let Some(raw) = self.next_raw().await? else { return Ok(None) };
            match raw.header().entry_type() {
                EntryType::XGlobalHeader => read_global_header(raw).await?,
                VOLUME_LABEL => {}
                _ => return self.entry(raw).await.map(Some),
            }
        }
    }

    async fn next_raw(&mut self) -> Result<Option<RawEntry>> {
        self.header_budget.store(MAX_HEADERS, Ordering::Relaxed);
        let next =
            self.stream.next().await.transpose().map_err(|error| self.after_entry(&error))?;
        let read = MAX_HEADERS - self.header_budget.swap(u64::MAX, Ordering::Relaxed);
        if next.is_some() {
            return Ok(next);
        }
        // A complete archive ends with a marker, after at most one block of padding.
        if read < BLOCK {
            let reason = "it is truncated: its end marker is missing";
            return Err(self.after_entry(&Error::new(ErrorKind::UnexpectedEof, reason)));
        }
        padding::require_end(&mut self.archive).await?;
        Ok(None)
    }

    async fn entry(&mut self, mut raw: RawEntry) -> Result<TarEntry> {
        let sparse = sparse_headers(&mut raw).await?;
        let path = match &sparse.name {
            Some(name) => EntryPath::new(name)?,
            None => EntryPath::new(&raw.path_bytes()?)?,
        };
        let kind = kind_of(&path, &raw).map_err(|error| in_file(&path.text, &error))?;
        let mode = raw.header().mode().unwrap_or(0o644);
        let content = self.expanded(sparse, raw).await;
        let content = HashingReader::new(content.map_err(|error| in_file(&path.text, &error))?);
        self.last = Some((path.text.clone(), content.clone()));
        Ok(TarEntry { path, kind, mode, content })
    }

    /// Expands sparse files. Holes count as decompressed bytes, because a small archive can declare
    /// huge ones.
    async fn expanded(&self, sparse: SparseHeaders, raw: RawEntry) -> Result<Reader> {
        let stored = raw.header().raw_entry_size().unwrap_or_default();
        let (content, holes): (Reader, u64) = match sparse.is_sparse() {
            true => sparse.expand(Box::pin(raw)).await?,
            false if raw.header().entry_type().is_gnu_sparse() => {
                let holes = raw.effective_size().saturating_sub(stored);
                (Box::pin(raw), holes)
            }
            false => (Box::pin(raw), 0),
        };
        self.limits.inflate.count(holes)?;
        Ok(content)
    }

    /// Adds the last path to an error of a header, whose own path is unknown.
    fn after_entry(&self, error: &Error) -> Error {
        match &self.last {
            None => Error::new(error.kind(), error.to_string()),
            Some((path, _)) => {
                Error::new(error.kind(), format!("{error} (after {})", path.escape_debug()))
            }
        }
    }
}

impl TarEntry {
    pub(crate) fn is_file(&self) -> bool {
        self.kind == EntryKind::File
    }

    /// Why the entry must not be unpacked. Link targets are checked at the end of the archive.
    pub(crate) fn unsafe_reason(&self) -> Option<&'static str> {
        match &self.kind {
            _ if self.path.is_top() => None,
            EntryKind::Link(None) | EntryKind::Device => {
                self.path.unsafe_reason().or(Some(NOT_A_FILE))
            }
            _ => self.path.unsafe_reason(),
        }
    }

    /// The content.
    pub(crate) fn into_reader(self) -> Reader {
        self.content.reader()
    }

    /// Starts to hash the content as it is read.
    pub(super) fn start_hashing(&self) -> HashingReader {
        let named = named_digest(&self.path.text);
        self.content.start_hashing(
            named.map_or_else(Algorithm::default, |digest| digest.algorithm()),
            MAX_HEAD,
        );
        self.content.clone()
    }
}

/// Why devices, and links to anything but files of the archive, are rejected.
pub(crate) const NOT_A_FILE: &str = "is a link or a device, which bundles do not contain";

fn kind_of(path: &EntryPath, raw: &RawEntry) -> Result<EntryKind> {
    let kind = raw.header().entry_type();
    Ok(match kind {
        EntryType::Directory | DUMPED_DIRECTORY => EntryKind::Directory,
        EntryType::Symlink | EntryType::Link => {
            let target = raw.link_name_bytes()?.unwrap_or_default();
            EntryKind::Link(path.resolve_link(kind.is_symlink(), &target)?)
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => EntryKind::Device,
        VOLUME_PART => {
            let reason = "it is one volume of a multi-volume archive";
            return Err(Error::new(ErrorKind::Unsupported, reason));
        }
        // Archives older than the directory type mark directories with a trailing slash.
        _ if raw.path_bytes()?.ends_with(b"/") => EntryKind::Directory,
        // GNU tar treats unknown types as files.
        _ => EntryKind::File,
    })
}

/// Skips the volume label, which GNU tar writes without a size.
async fn without_label(mut tar: Reader) -> Result<Reader> {
    let mut head = Vec::new();
    (&mut tar).take(BLOCK).read_to_end(&mut head).await?;
    match is_tar(&head) && head[TYPE_OFFSET] == VOLUME_LABEL.as_byte() {
        true => Ok(tar),
        false => Ok(Box::pin(Cursor::new(head).chain(tar))),
    }
}

async fn sparse_headers(raw: &mut RawEntry) -> Result<SparseHeaders> {
    let mut sparse = SparseHeaders::default();
    if raw.header().entry_type().is_file()
        && let Some(extensions) = raw.pax_extensions().await?
    {
        for extension in extensions {
            let extension = extension?;
            sparse.take(extension.key_bytes(), extension.value_bytes())?;
        }
    }
    Ok(sparse)
}

/// Rejects global headers that set a path or size for all entries.
///
/// Readers disagree about such headers, so the same archive has different content for each of them.
async fn read_global_header(raw: RawEntry) -> Result<()> {
    let mut text = Vec::new();
    raw.take(MAX_HEADERS).read_to_end(&mut text).await?;
    let is_misleading = |line: &[u8]| {
        let key = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        [&b"path="[..], b"linkpath=", b"size=", b"GNU.sparse."]
            .iter()
            .any(|one| key.starts_with(one))
    };
    if text.split(|byte| *byte == b'\n').any(is_misleading) {
        let reason = "a global header sets one name or size for all entries";
        return Err(Error::new(ErrorKind::Unsupported, reason));
    }
    Ok(())
}

/// Prefixes an error with the path of the affected file.
pub(super) fn in_file(path: &str, error: &Error) -> Error {
    Error::new(error.kind(), format!("{}: {error}", path.escape_debug()))
}

/// Appends the path of the entry in which an error of the archive occurred.
pub(super) fn in_entry(path: &str, error: &Error) -> Error {
    Error::new(error.kind(), format!("{error} (in {})", path.escape_debug()))
}

/// Limits the bytes that are read for headers. A budget of `u64::MAX` disables the limit.
struct BoundedReader {
    reader: Reader,
    header_budget: Arc<AtomicU64>,
}

impl AsyncRead for BoundedReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        ready!(self.reader.as_mut().poll_read(cx, buffer))?;
        let read = (buffer.filled().len() - before) as u64;
        let left = self.header_budget.load(Ordering::Relaxed);
        if read > left {
            let reason = "the headers of an entry are too large";
            return Poll::Ready(Err(Error::other(reason)));
        }
        if left != u64::MAX {
            self.header_budget.store(left - read, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}
