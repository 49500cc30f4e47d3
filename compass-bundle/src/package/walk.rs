//! The entries of a tar archive, one after the other, in bounded memory.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use compass_registry::{Algorithm, Digest, Hasher};
use futures_util::StreamExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio_tar::{Archive, ArchiveBuilder};

use super::padding;
use super::peel::Reader;
use crate::naming;
use crate::plan::entry::BLOCK;

/// Bytes of headers and long names before an entry; more is no archive that a person made.
const MAX_HEADERS: u64 = 2 << 20;

/// Bytes of a path: no system opens one that is longer.
const MAX_PATH: usize = 4096;

/// Bytes from the beginning of an entry that are kept: enough for YAML and JSON.
pub(super) const KEPT: usize = 4 << 20;

/// Why sparse files are refused: a few bytes may stand for more zeros than anyone waits for.
const SPARSE: &str = "it is a sparse file, which packages have none of";

/// The entries of an archive. Each is read to its end before the next one, and after the last one
/// whatever the archive came in.
pub(crate) struct Entries {
    archive: Archive<Bounded>,
    stream: tokio_tar::Entries<Bounded>,
    budget: Arc<AtomicU64>,
    last: Option<Shared>,
    /// The path of the last entry, for people who look for damage.
    path: String,
}

/// One entry.
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) is_file: bool,
    pub(crate) is_directory: bool,
    pub(crate) mode: u32,
    /// The path that a link leads to, where that is in the archive.
    pub(super) link: Option<String>,
    content: Shared,
}

type Shared = Arc<Mutex<Content>>;

/// An entry as the parser has it.
type Raw = tokio_tar::Entry<Archive<Bounded>>;

struct Content {
    path: String,
    entry: Raw,
    sum: Option<(Hasher, u64, Vec<u8>)>,
}

impl Entries {
    pub(crate) fn of(tar: Reader) -> std::io::Result<Self> {
        let budget = Arc::new(AtomicU64::new(MAX_HEADERS));
        let bounded = Bounded { reader: tar, budget: Arc::clone(&budget) };
        let mut archive = ArchiveBuilder::new(bounded).build();
        let stream = archive.entries()?;
        Ok(Self { archive, stream, budget, last: None, path: String::new() })
    }

    pub(crate) async fn next(&mut self) -> std::io::Result<Option<Entry>> {
        if let Some(last) = self.last.take() {
            drain(&last).await?;
        }
        self.budget.store(MAX_HEADERS, Ordering::Relaxed);
        let entry = self.stream.next().await.transpose().map_err(|error| self.behind(&error))?;
        let read = MAX_HEADERS - self.budget.swap(u64::MAX, Ordering::Relaxed);
        let Some(mut entry) = entry else {
            // Behind the last entry come less than a block that fills its last one, and the mark.
            if read < BLOCK {
                let reason = "it was cut off: nothing marks its end";
                return Err(self.behind(&Error::new(ErrorKind::UnexpectedEof, reason)));
            }
            padding::require_end(&mut self.archive).await?;
            return Ok(None);
        };
        let path = plain_path(&require_short(&entry.path_bytes()?)?);
        if is_sparse(&mut entry).await? {
            return Err(in_file(&path, &Error::new(ErrorKind::Unsupported, SPARSE)));
        }
        let kind = entry.header().entry_type();
        let is_link = kind.is_symlink() || kind.is_hard_link();
        let link = match is_link.then(|| entry.link_name_bytes()).transpose()?.flatten() {
            Some(link) => {
                let from = if kind.is_symlink() { &*path } else { "" };
                resolve(from, &require_short(&link)?)
            }
            None => None,
        };
        let is_file = kind.is_file() || kind.is_contiguous();
        let mode = entry.header().mode().unwrap_or(0o644);
        let content = Content { path: path.clone(), entry, sum: None };
        let content = Arc::new(Mutex::new(content));
        self.last = Some(Arc::clone(&content));
        self.path.clone_from(&path);
        Ok(Some(Entry { path, is_file, is_directory: kind.is_dir(), mode, link, content }))
    }

    /// An error of a header, of which no name can be told but the one before it.
    fn behind(&self, error: &Error) -> Error {
        match self.path.as_str() {
            "" => Error::new(error.kind(), error.to_string()),
            path => Error::new(error.kind(), format!("{error} (behind {})", path.escape_debug())),
        }
    }
}

impl Entry {
    /// Whether this is the directory that everything stands in, and nothing of its own.
    pub(crate) fn is_top(&self) -> bool {
        self.path.is_empty()
    }

    /// Why nobody should unpack this, where that is so.
    pub(crate) fn refused(&self) -> Option<&'static str> {
        match (naming::outside_by(&self.path), self.is_file || self.is_directory) {
            _ if self.is_top() => None,
            (Some(reason), _) => Some(reason),
            (None, true) => None,
            (None, false) => Some("is a link or a device, which bundles have none of"),
        }
    }

    /// The content.
    pub(crate) fn into_reader(self) -> Reader {
        Box::pin(SharedReader(self.content))
    }

    /// The content, and its digest when it has been read.
    pub(super) fn hashed(&mut self) -> (Reader, Sum) {
        let content = Arc::clone(&self.content);
        let algorithm = named_digest(&self.path).map_or_else(Algorithm::default, |d| d.algorithm());
        lock(&content).sum = Some((Hasher::new(algorithm), 0, Vec::new()));
        (Box::pin(SharedReader(Arc::clone(&content))), Sum(content))
    }
}

/// A path as it may be repeated: with each image, layer and error that has to do with it.
fn require_short(path: &[u8]) -> std::io::Result<String> {
    if path.len() > MAX_PATH {
        let begins = String::from_utf8_lossy(&path[..40]).escape_debug().to_string();
        let reason = format!("a name of {} bytes is too long: {begins}…", path.len());
        return Err(Error::new(ErrorKind::Unsupported, reason));
    }
    Ok(String::from_utf8_lossy(path).into_owned())
}

/// A path without the steps that lead nowhere, and without the end that directories have.
fn plain_path(path: &str) -> String {
    let steps: Vec<&str> = path.split('/').filter(|step| *step != ".").collect();
    steps.join("/").trim_end_matches('/').to_owned()
}

/// Where a link leads: a symbolic one from beside itself, a hard one from the top. Nothing where it
/// leads out of the archive.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut steps: Vec<&str> = match link.starts_with('/') {
        true => Vec::new(),
        false => {
            from.rsplit_once('/').map_or_else(Vec::new, |(beside, _)| beside.split('/').collect())
        }
    };
    for step in link.split('/') {
        match step {
            ".." => drop(steps.pop()?),
            "." | "" => {}
            step => steps.push(step),
        }
    }
    Some(steps.join("/"))
}

/// The digest that a blob's name says, where OCI layouts have it. The directories of old layers are
/// ids, and no digests.
pub(super) fn named_digest(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// Whether a file has holes, in the form of old GNU tar or as extended headers say.
async fn is_sparse(entry: &mut Raw) -> std::io::Result<bool> {
    let kind = entry.header().entry_type();
    if kind.is_gnu_sparse() {
        return Ok(true);
    }
    if !kind.is_file() {
        return Ok(false);
    }
    let Some(mut extensions) = entry.pax_extensions().await? else { return Ok(false) };
    extensions.try_fold(false, |is_sparse, extension| {
        Ok(is_sparse || extension?.key_bytes().starts_with(b"GNU.sparse."))
    })
}

/// The digest of an entry.
pub(super) struct Sum(Shared);

impl Sum {
    /// Reads what is left.
    pub(super) async fn drain(&self) -> std::io::Result<()> {
        drain(&self.0).await
    }

    /// The first bytes, up to [`KEPT`].
    pub(super) fn kept(&self) -> Bytes {
        let mut content = lock(&self.0);
        content.sum.as_mut().map(|(_, _, kept)| std::mem::take(kept)).unwrap_or_default().into()
    }

    pub(super) fn finish(self) -> (Digest, u64) {
        let sum = lock(&self.0).sum.take();
        let (hasher, size, _) = sum.unwrap_or_default();
        (hasher.finish(), size)
    }
}

async fn drain(content: &Shared) -> std::io::Result<()> {
    let mut reader = SharedReader(Arc::clone(content));
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(within(&lock(content).path, &error)),
        }
    }
}

/// An error of a file in a package, or in an archive.
pub(super) fn in_file(path: &str, error: &Error) -> Error {
    Error::new(error.kind(), format!("{}: {error}", path.escape_debug()))
}

/// An error of what a file stands in.
fn within(path: &str, error: &Error) -> Error {
    Error::new(error.kind(), format!("{error} (in {})", path.escape_debug()))
}

fn lock(content: &Shared) -> std::sync::MutexGuard<'_, Content> {
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

struct SharedReader(Shared);

impl AsyncRead for SharedReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let mut content = lock(&self.0);
        let before = buffer.filled().len();
        ready!(Pin::new(&mut content.entry).poll_read(cx, buffer))?;
        if let Some((hasher, size, kept)) = &mut content.sum {
            let new = &buffer.filled()[before..];
            hasher.update(new);
            *size += new.len() as u64;
            kept.extend_from_slice(&new[..new.len().min(KEPT - kept.len())]);
        }
        Poll::Ready(Ok(()))
    }
}

/// Gives no more bytes than it may.
struct Bounded {
    reader: Reader,
    budget: Arc<AtomicU64>,
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(self.reader.as_mut().poll_read(cx, buffer))?;
        let read = (buffer.filled().len() - before) as u64;
        let left = self.budget.load(Ordering::Relaxed);
        if read > left {
            let reason = "the headers of an entry are too large";
            return Poll::Ready(Err(Error::other(reason)));
        }
        if left != u64::MAX {
            self.budget.store(left - read, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}
