//! Cuts a bundle into parts, and computes the checksums of the parts and of the whole.

use std::fs::File;
use std::io::Write as _;

use bytes::{Bytes, BytesMut};
use compass_registry::{Digest, Hasher, Progress};
use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use tokio::task::spawn_blocking;

use super::checksum::{ObjectChecksum, PartChecksum, PartHasher};
use super::client::Body;
use super::part_layout::{MIN_PART, PartLayout};
use crate::Error;
use crate::read::{BundleSource as _, LocalFile};

/// Bytes per read from a local file.
const READ_SIZE: u64 = 1 << 20;

/// A part of an object, ready to be sent.
pub(super) struct Part {
    pub(super) number: u64,
    pub(super) checksum: PartChecksum,
    pub(super) body: Body,
}

/// Reads the parts of an object in order.
pub(super) struct PartReader {
    layout: PartLayout,
    input: Input,
    /// The number of the next part.
    next: u64,
    hasher: Hasher,
    object: ObjectChecksum,
}

/// The bytes of an object.
enum Input {
    File(LocalFile),
    Stream {
        chunks: BoxStream<'static, Result<Bytes, Error>>,
        /// The received bytes that belong to the next part.
        rest: Bytes,
    },
}

/// The digest and checksums of all bytes that were read.
pub(super) struct Summary {
    pub(super) digest: Digest,
    pub(super) object: ObjectChecksum,
}

impl PartReader {
    /// Creates the reader of a local file. Parts are read again when they are sent.
    pub(super) fn of_file(file: LocalFile, layout: PartLayout) -> Self {
        Self::new(Input::File(file), layout)
    }

    /// Creates the reader of a stream. Parts are kept in memory, or in temporary files if they are
    /// large, until they are sent.
    pub(super) fn of_stream(
        chunks: BoxStream<'static, Result<Bytes, Error>>,
        layout: PartLayout,
    ) -> Self {
        Self::new(Input::Stream { chunks, rest: Bytes::new() }, layout)
    }

    fn new(input: Input, layout: PartLayout) -> Self {
        let (hasher, object) = (Hasher::default(), ObjectChecksum::default());
        Self { layout, input, next: 1, hasher, object }
    }

    /// Reads the next part. Returns `None` after the last one.
    ///
    /// # Errors
    /// The errors of the source, and [`Error::Damaged`] if it has fewer or more bytes than expected.
    pub(super) async fn next(&mut self) -> Result<Option<Part>, Error> {
        if self.next > self.layout.count() {
            return Ok(None);
        }
        let number = self.next;
        let (checksum, body) = match &self.input {
            Input::File(file) => {
                let file = file.clone();
                self.read_file(file, number).await?
            }
            Input::Stream { .. } => self.read_stream(number).await?,
        };
        self.next += 1;
        if self.next > self.layout.count() {
            self.require_end().await?;
        }
        self.object.add(&checksum);
        Ok(Some(Part { number, checksum, body }))
    }

    /// Reads the rest, and returns the digest and checksums of the whole.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub(super) async fn finish(mut self, progress: &dyn Progress) -> Result<Summary, Error> {
        while let Some(part) = self.next().await? {
            progress.advance(part.checksum.size);
        }
        Ok(Summary { digest: self.hasher.finish(), object: self.object })
    }

    async fn read_file(
        &mut self,
        file: LocalFile,
        number: u64,
    ) -> Result<(PartChecksum, Body), Error> {
        let range = self.layout.range(number);
        let mut hasher = std::mem::take(&mut self.hasher);
        let body = Body::File(file.clone(), range.clone());
        let read = spawn_blocking(move || {
            let (mut part, mut buffer, mut position) =
                (PartHasher::default(), Vec::new(), range.start);
            while position < range.end {
                let next = range.end.min(position + READ_SIZE);
                file.read_into(&mut buffer, position..next)?;
                part.update(&buffer);
                hasher.update(&buffer);
                position = next;
            }
            Ok::<_, Error>((part.finish(), hasher))
        });
        let read =
            read.await.map_err(|_| Error::damaged("the thread that reads the file panicked"))?;
        let (checksum, hasher) = read?;
        self.hasher = hasher;
        Ok((checksum, body))
    }

    async fn read_stream(&mut self, number: u64) -> Result<(PartChecksum, Body), Error> {
        let range = self.layout.range(number);
        let size = range.end - range.start;
        let (mut hasher, mut buffer) = (PartHasher::default(), PartBuffer::new(size)?);
        let mut left = size;
        while left > 0 {
            let Some(bytes) = self.input.take(left).await? else {
                let position = range.end - left;
                let expected = self.layout.size;
                return Err(Error::damaged(format!(
                    "the bundle ended after {position} of {expected} bytes"
                )));
            };
            hasher.update(&bytes);
            self.hasher.update(&bytes);
            left -= bytes.len() as u64;
            buffer.push(&bytes)?;
        }
        Ok((hasher.finish(), buffer.finish()?))
    }

    async fn require_end(&mut self) -> Result<(), Error> {
        match self.input.take(1).await? {
            None => Ok(()),
            Some(_) => {
                let size = self.layout.size;
                Err(Error::damaged(format!("the bundle has more than {size} bytes")))
            }
        }
    }
}

impl Input {
    /// Takes up to `most` bytes from a stream. A file has no bytes left after its last part.
    async fn take(&mut self, most: u64) -> Result<Option<Bytes>, Error> {
        let Self::Stream { chunks, rest } = self else { return Ok(None) };
        while rest.is_empty() {
            match chunks.try_next().await? {
                Some(chunk) => *rest = chunk,
                None => return Ok(None),
            }
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(Some(rest.split_to(rest.len().min(most))))
    }
}

/// The bytes of a part of a stream until they are sent.
enum PartBuffer {
    Memory(BytesMut),
    /// An unnamed temporary file, so that memory does not depend on the size of the object.
    File(File),
}

impl PartBuffer {
    fn new(size: u64) -> Result<Self, Error> {
        if size <= MIN_PART {
            let capacity = usize::try_from(size).unwrap_or_default();
            return Ok(Self::Memory(BytesMut::with_capacity(capacity)));
        }
        let file = tempfile::tempfile();
        file.map(Self::File).map_err(Error::io("create a file in", &std::env::temp_dir()))
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Memory(buffer) => buffer.extend_from_slice(bytes),
            Self::File(file) => {
                let written = file.write_all(bytes);
                written.map_err(Error::io("write a file in", &std::env::temp_dir()))?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Body, Error> {
        match self {
            Self::Memory(buffer) => Ok(Body::Bytes(buffer.freeze())),
            Self::File(file) => {
                let file = LocalFile::unnamed(file)?;
                let size = file.size();
                Ok(Body::File(file, 0..size))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use compass_registry::NoProgress;
    use futures_util::{StreamExt as _, stream};

    use super::*;

    async fn read(chunks: Vec<&'static [u8]>, size: u64) -> Result<(Vec<u64>, Summary), Error> {
        let layout = PartLayout { size, part_size: 4 };
        let chunks = stream::iter(chunks.into_iter().map(|one| Ok(Bytes::from_static(one))));
        let mut reader = PartReader::of_stream(chunks.boxed(), layout);
        let mut sizes = Vec::new();
        while let Some(part) = reader.next().await? {
            assert_eq!(part.body.size(), part.checksum.size);
            sizes.push(part.checksum.size);
        }
        Ok((sizes, reader.finish(&NoProgress).await?))
    }

    #[tokio::test]
    async fn stream_is_cut_into_parts() {
        let (sizes, summary) = read(vec![b"1", b"", b"234567", b"89"], 9).await.unwrap();
        assert_eq!(sizes, [4, 4, 1]);
        assert_eq!((summary.digest, summary.object.size()), (Digest::of(b"123456789"), 9));
    }

    #[tokio::test]
    async fn stream_of_wrong_length_is_error() {
        assert!(matches!(read(vec![b"12345"], 9).await, Err(Error::Damaged { .. })));
        assert!(matches!(read(vec![b"12345"], 4).await, Err(Error::Damaged { .. })));
    }

    #[tokio::test]
    async fn file_and_stream_have_same_checksums() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"123456789").unwrap();
        let layout = PartLayout { size: 9, part_size: 4 };
        let mut reader = PartReader::of_file(LocalFile::open(&path).unwrap(), layout);
        assert_eq!(reader.next().await.unwrap().unwrap().number, 1);
        let of_file = reader.finish(&NoProgress).await.unwrap();
        let (_, of_stream) = read(vec![b"123456789"], 9).await.unwrap();
        assert_eq!(of_file.digest, of_stream.digest);
        assert_eq!(of_file.object, of_stream.object);
    }
}
