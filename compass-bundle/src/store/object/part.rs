//! A part of an object, and its bytes until they are sent.

use std::fs::File;
use std::io::Write as _;

use bytes::Bytes;
use compass_registry::internal::{BufferPool, PooledBuffer};

use super::checksum::{PartChecksum, PartHasher};
use super::client::Body;
use super::part_layout::MIN_PART;
use crate::Error;
use crate::read::{BundleSource as _, LocalFile};

/// The largest part that is kept in memory, in bytes. That is the usual size of parts.
const MAX_IN_MEMORY: u64 = 2 * MIN_PART;

/// A part of an object, ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) number: u64,
    pub(super) checksum: PartChecksum,
    pub(super) body: Body,
    /// Whether the part is sent after all parts before it have arrived.
    ///
    /// This is the last part of a blob. If it is in the storage, the whole blob is, and was verified.
    pub(super) is_last_of_blob: bool,
}

/// The bytes and checksums of a part that is being read.
pub(super) struct PartBuffer {
    number: u64,
    hasher: PartHasher,
    bytes: Buffered,
}

/// The bytes of a part until they are sent.
enum Buffered {
    Memory(PooledBuffer),
    /// An unnamed temporary file, so that memory does not depend on the size of the object.
    File(File),
}

impl PartBuffer {
    /// Creates a buffer for the part with this number and size. Memory is from the pool.
    pub(super) fn new(number: u64, size: u64, pool: &BufferPool) -> Result<Self, Error> {
        let bytes = if size <= MAX_IN_MEMORY {
            let mut buffer = pool.take();
            buffer.bytes.clear();
            // All buffers have the same size, so that each of them fits any part.
            buffer.bytes.reserve_exact(usize::try_from(MAX_IN_MEMORY).unwrap_or_default());
            Buffered::Memory(buffer)
        } else {
            Buffered::File(temporary_file()?)
        };
        Ok(Self { number, hasher: PartHasher::default(), bytes })
    }

    /// Creates a buffer on the disk, for parts of which many are read at once.
    pub(super) fn on_disk(number: u64) -> Result<Self, Error> {
        let bytes = Buffered::File(temporary_file()?);
        Ok(Self { number, hasher: PartHasher::default(), bytes })
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        match &mut self.bytes {
            Buffered::Memory(buffer) => buffer.bytes.extend_from_slice(bytes),
            Buffered::File(file) => {
                let written = file.write_all(bytes);
                written.map_err(Error::io("write a file in", &std::env::temp_dir()))?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Part, Error> {
        let body = match self.bytes {
            Buffered::Memory(buffer) => Body::Bytes(Bytes::from_owner(buffer)),
            Buffered::File(file) => {
                let file = LocalFile::unnamed(file)?;
                let size = file.size();
                Body::File(file, 0..size)
            }
        };
        let (number, checksum) = (self.number, self.hasher.finish());
        Ok(Part { number, checksum, body, is_last_of_blob: false })
    }
}

fn temporary_file() -> Result<File, Error> {
    tempfile::tempfile().map_err(Error::io("create a file in", &std::env::temp_dir()))
}
