//! Takes compression off, as the content says.

use std::io::Cursor;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use compass_registry::Hasher;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::io::{InspectReader, StreamReader};

use super::gzip::{AHEAD, Budget, Gzip, Likeness, Taken, likeness};
use crate::read::BundleSource;

/// Bytes on their way.
pub(crate) type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// What stands behind the compression.
pub(crate) enum Peeled {
    Tar(Reader),
    Other,
}

/// Bytes that are asked for at once from far away.
const AHEAD_REMOTE: u64 = 4 << 20;

/// Old scripts compressed what was compressed already; nobody did it three times.
const MAX_GZIPS: usize = 2;

/// A tar header is as long.
const HEAD: u64 = 512;

/// What is hashed of a file as it passes.
pub(super) type Passing = Arc<Mutex<(Hasher, u64)>>;

/// As [`reader_of`], and what has passed.
pub(super) fn hashed_reader_of(source: Arc<dyn BundleSource>) -> (Reader, Passing) {
    let passing = Passing::default();
    let seen = Arc::clone(&passing);
    let chunks = chunks_of(source).inspect_ok(move |chunk| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.0.update(chunk);
        seen.1 += chunk.len() as u64;
    });
    (Box::pin(StreamReader::new(chunks.boxed())), passing)
}

/// The bytes of a file in order.
pub(crate) fn reader_of(source: Arc<dyn BundleSource>) -> Reader {
    Box::pin(StreamReader::new(chunks_of(source).boxed()))
}

fn chunks_of(source: Arc<dyn BundleSource>) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    let step = if source.local().is_some() { AHEAD as u64 } else { AHEAD_REMOTE };
    stream::try_unfold((source, 0), move |(source, position)| async move {
        let next = source.size().min(position + step);
        if position == next {
            return Ok(None);
        }
        let bytes = source.read(position..next).await.map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(Some((bytes, (source, next))))
    })
}

/// Takes gzip off, once or twice. What only begins like gzip is something else; what has a header
/// as compressors write it and cannot be inflated is damaged.
pub(crate) async fn peel(reader: Reader) -> std::io::Result<Peeled> {
    peel_within(reader, &Budget::default()).await
}

/// As [`peel`], no further than a whole package may be inflated.
pub(super) async fn peel_within(reader: Reader, budget: &Budget) -> std::io::Result<Peeled> {
    let (mut outer, taken) = (Likeness::Sure, Taken::default());
    let count = Arc::clone(&taken);
    let reader = InspectReader::new(reader, move |bytes| {
        count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    });
    let mut reader: Reader = Box::pin(reader);
    for _ in 0..=MAX_GZIPS {
        let mut head = Vec::new();
        let read = (&mut reader).take(HEAD).read_to_end(&mut head).await;
        if read.is_err() && outer == Likeness::Possible {
            return Ok(Peeled::Other);
        }
        read?;
        outer = likeness(&head);
        let is_tar = is_tar(&head);
        let whole: Reader = Box::pin(Cursor::new(head).chain(reader));
        match outer {
            Likeness::None if is_tar => return Ok(Peeled::Tar(whole)),
            Likeness::None => return Ok(Peeled::Other),
            Likeness::Possible | Likeness::Sure => {
                reader = Box::pin(Gzip::new(whole, Arc::clone(&taken), budget.clone()));
            }
        }
    }
    Err(std::io::Error::other("it is compressed again and again"))
}

/// Whether bytes begin with a tar header: its checksum is right.
fn is_tar(head: &[u8]) -> bool {
    let Ok(head) = <&[u8; 512]>::try_from(head) else { return false };
    let field = String::from_utf8_lossy(&head[148..156]).into_owned();
    let field = field.trim_matches(['\0', ' ']);
    let Ok(stored) = u32::from_str_radix(field, 8) else { return false };
    let sum: u32 = head
        .iter()
        .enumerate()
        .map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte }))
        .sum();
    // Of a block of zeros it is right as well.
    sum == stored && head[0] != 0
}
