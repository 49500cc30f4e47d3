//! Executes a plan to a file.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use compass_registry::{Digest, Hasher, ImageSource, Progress, open_resuming};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::Error;
use crate::encode::Encoder;
use crate::frame;
use crate::part_file::PartFile;
use crate::plan::{BundlePlan, Content};

/// Bytes that are written at once.
const CHUNK: usize = 512 << 10;

/// Chunks on their way to the disk. With the chunk size this bounds the memory of a run.
const QUEUE: usize = 8;

/// Bytes between two requests to the system to write what it holds back, so that the end of a run
/// does not wait for everything at once.
const FLUSH: u64 = 32 << 20;

/// A bundle that has been written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Digest of the file.
    pub digest: Digest,
}

/// Writes a bundle into a directory, with its `.sha256` beside it.
///
/// Blobs go from the source to their place in the file, verified on the way; memory does not
/// depend on their size. Nothing is visible under the final name before everything has reached the
/// disk. Where the future is dropped, nothing is left behind.
///
/// # Errors
/// The first error of the source, which names image and blob, or of the disk.
pub async fn write(
    plan: &BundlePlan,
    source: Arc<dyn ImageSource>,
    directory: &Path,
    progress: &dyn Progress,
) -> Result<Written, Error> {
    write_as(plan, source, &directory.join(plan.file_name()), progress).await
}

/// Writes a bundle to a file of any name; see [`write()`].
///
/// # Errors
/// As [`write()`].
pub async fn write_as(
    plan: &BundlePlan,
    source: Arc<dyn ImageSource>,
    path: &Path,
    progress: &dyn Progress,
) -> Result<Written, Error> {
    let part = PartFile::create(path)?;
    let (channel, writer) = start_writer(&part)?;
    progress.expect(plan.size());
    // The channel ends with the feeder, and the writer with the channel.
    let fed = feed(plan, source, channel, progress).await;
    // The writer goes first: that it stopped is why the feeder failed.
    let (size, digest) = writer.await.map_err(|_| stopped(path))??;
    fed?;
    if size != plan.size() {
        return Err(Error::damaged(format!("{} bytes were planned, {size} written", plan.size())));
    }
    part.finish()?;
    write_checksum(path, digest)?;
    Ok(Written { path: path.to_owned(), size, digest })
}

/// The path of the checksum beside a bundle.
pub fn checksum_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

/// Writes what `sha256sum -c` reads.
pub(crate) fn write_checksum(path: &Path, digest: Digest) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let checksum = checksum_path(path);
    let part = PartFile::create(&checksum)?;
    let line = format!("{}  {name}\n", digest.hex());
    part.handle()?.write_all(line.as_bytes()).map_err(Error::io("write", &checksum))?;
    part.finish()
}

type Writer = JoinHandle<Result<(u64, Digest), Error>>;

/// The feeder's end: full chunks go out, empty ones come back to be filled again.
struct Channel {
    full: mpsc::Sender<Vec<u8>>,
    empty: mpsc::Receiver<Vec<u8>>,
}

fn start_writer(part: &PartFile) -> Result<(Channel, Writer), Error> {
    let (full, chunks) = mpsc::channel(QUEUE);
    let (spent, empty) = mpsc::channel(QUEUE);
    let (file, path) = (part.handle()?, part.part().to_owned());
    let writer = spawn_blocking(move || write_chunks(file, &path, chunks, &spent));
    Ok((Channel { full, empty }, writer))
}

fn write_chunks(
    mut file: File,
    path: &Path,
    mut chunks: mpsc::Receiver<Vec<u8>>,
    spent: &mpsc::Sender<Vec<u8>>,
) -> Result<(u64, Digest), Error> {
    let mut hasher = Hasher::default();
    let (mut size, mut flushed) = (0, 0);
    let flushing = file.try_clone().map_err(Error::io("write", path))?;
    std::thread::scope(|scope| {
        let (due, flushes) = std::sync::mpsc::sync_channel(1);
        let flusher = scope.spawn(move || flush(&flushing, &flushes));
        while let Some(mut chunk) = chunks.blocking_recv() {
            file.write_all(&chunk).map_err(Error::io("write", path))?;
            hasher.update(&chunk);
            size += chunk.len() as u64;
            if size - flushed >= FLUSH {
                flushed = size;
                // Where a flush waits already, that one will do.
                let _ = due.try_send(());
            }
            chunk.clear();
            // Where nobody wants it back, it is freed.
            drop(spent.try_send(chunk));
        }
        drop(due);
        match flusher.join() {
            Ok(flushed) => flushed.map_err(Error::io("write", path))?,
            Err(_) => return Err(stopped(path)),
        }
        Ok((size, hasher.finish()))
    })
}

/// Writes what the system holds back, each time it is due, beside the writing itself.
fn flush(file: &File, due: &std::sync::mpsc::Receiver<()>) -> std::io::Result<()> {
    due.iter().try_for_each(|()| file.sync_data())
}

/// Sends the bytes of the file, in order. A writer that has stopped ends it without an error of its
/// own.
async fn feed(
    plan: &BundlePlan,
    source: Arc<dyn ImageSource>,
    channel: Channel,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let mut encoder = Encoder::new(plan);
    let mut outlet = Outlet { channel, progress, chunk: new_chunk() };
    outlet.chunk.extend_from_slice(&frame::HEADER);
    for segment in plan.segments() {
        encoder.begin(segment);
        if let Some(bytes) = segment.content.known(&mut encoder) {
            encoder.bytes(segment, &bytes, &mut outlet.chunk);
            if !outlet.send_if_full().await {
                return Ok(());
            }
        }
        if let (Content::Blob(descriptor), Some(archive)) = (&segment.content, segment.archive) {
            let archive = plan.archive(archive);
            let mut blob = open_resuming(Arc::clone(&source), &archive.repository, descriptor);
            while let Some(bytes) = blob.next().await {
                let bytes =
                    bytes.map_err(|error| error.in_blob(&archive.reference, descriptor.digest))?;
                encoder.bytes(segment, &bytes, &mut outlet.chunk);
                if !outlet.send_if_full().await {
                    return Ok(());
                }
            }
        }
    }
    outlet.chunk.extend_from_slice(&encoder.finish());
    outlet.send().await;
    Ok(())
}

/// An empty chunk; what a registry sends at once may go beyond its size.
fn new_chunk() -> Vec<u8> {
    Vec::with_capacity(2 * CHUNK)
}

struct Outlet<'w> {
    channel: Channel,
    progress: &'w dyn Progress,
    chunk: Vec<u8>,
}

impl Outlet<'_> {
    /// Sends the chunk once it is full; false where nobody takes it any more.
    async fn send_if_full(&mut self) -> bool {
        self.chunk.len() < CHUNK || self.send().await
    }

    async fn send(&mut self) -> bool {
        let next = self.channel.empty.try_recv().unwrap_or_else(|_| new_chunk());
        let chunk = std::mem::replace(&mut self.chunk, next);
        let size = chunk.len() as u64;
        let sent = self.channel.full.send(chunk).await.is_ok();
        self.progress.advance(if sent { size } else { 0 });
        sent
    }
}

fn stopped(path: &Path) -> Error {
    Error::io("write", path)(std::io::Error::other("the writing thread stopped"))
}
