//! A part of an object, and its bytes until they are sent.

use std::fs::File;
use std::io::Write as _;

use super::checksum::PartHasher;
use super::client::{Body, Content};
use super::part_memory::{ChunkedBytes, MAX_IN_MEMORY, PartMemory, Reserved};
use crate::Error;
use crate::read::{BundleSource as _, LocalFile};

/// A part of an object, ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) number: u64,
    pub(super) content: Content,
    /// The memory of the bytes; `None` if they are in a file.
    pub(super) memory: Option<Reserved>,
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
    Memory(ChunkedBytes, Reserved),
    /// An unnamed temporary file, so that memory does not depend on the size of the object.
    File(File),
}

impl PartBuffer {
    /// Creates a buffer for the part with this number and size. Waits until there is memory for it.
    pub(super) async fn new(number: u64, size: u64, memory: &PartMemory) -> Result<Self, Error> {
        if size > MAX_IN_MEMORY {
            return Self::on_disk(number);
        }
        let reserved = memory.reserve(size).await;
        let bytes = Buffered::Memory(memory.buffer(), reserved);
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
            Buffered::Memory(chunks, _) => chunks.push(bytes),
            Buffered::File(file) => {
                let written = file.write_all(bytes);
                written.map_err(Error::io("write a file in", &std::env::temp_dir()))?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Part, Error> {
        let (body, memory) = match self.bytes {
            Buffered::Memory(chunks, memory) => (Body::Chunks(chunks.finish()), Some(memory)),
            Buffered::File(file) => {
                let file = LocalFile::unnamed(file)?;
                let size = file.size();
                (Body::File(file, 0..size), None)
            }
        };
        let content = Content { body, checksum: self.hasher.finish() };
        Ok(Part { number: self.number, content, memory, is_last_of_blob: false })
    }
}

fn temporary_file() -> Result<File, Error> {
    tempfile::tempfile().map_err(Error::io("create a file in", &std::env::temp_dir()))
}
