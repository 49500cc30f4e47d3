//! Readers of sources, and streams of readers.

use std::io::{Error, Result};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use compass_registry::{ByteStream, Error as RegistryError};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::read::{BundleSource, read_exact};

/// A stream of bytes.
pub(crate) type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// Bytes per read of a local file.
const LOCAL_READ_SIZE: u64 = 128 << 10;

/// Bytes per read of a remote source.
const REMOTE_READ_SIZE: u64 = 4 << 20;

/// Maximum bytes of a chunk of a blob.
const CHUNK_SIZE: usize = 256 << 10;

/// Reads a source from start to end.
pub(crate) fn reader_of(source: Arc<dyn BundleSource>) -> Reader {
    Box::pin(StreamReader::new(chunks_of(source).boxed()))
}

fn chunks_of(source: Arc<dyn BundleSource>) -> impl Stream<Item = Result<Bytes>> + Send {
    let step = if source.local().is_some() { LOCAL_READ_SIZE } else { REMOTE_READ_SIZE };
    stream::try_unfold((source, 0), move |(source, position)| async move {
        let next = source.size().min(position + step);
        if position == next {
            return Ok(None);
        }
        let bytes = read_exact(&*source, position..next).await.map_err(Error::other)?;
        Ok::<_, Error>(Some((bytes, (source, next))))
    })
}

/// Converts a reader to a byte stream; `what` describes it in errors.
pub(crate) fn byte_stream(
    reader: impl AsyncRead + Send + Unpin + 'static,
    what: String,
) -> ByteStream {
    let failed = move |error| RegistryError::io(format!("cannot read {what}"), error);
    ReaderStream::with_capacity(reader, CHUNK_SIZE).map_err(failed).boxed()
}
