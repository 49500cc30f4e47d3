//! Writes large files past the page cache, if the file system supports it.
//!
//! Data that is not read back soon does not displace other data from the cache, and completing a
//! file does not wait for a large writeback. Direct I/O needs aligned memory and offsets
//! (`O_DIRECT` in open(2)); unaligned parts are written through the cache.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// The alignment of memory addresses and file offsets in bytes. Disks have blocks of 512 or 4096
/// bytes.
const BLOCK: usize = 4096;

/// A file that is written in large blocks, in any order.
#[derive(Debug)]
pub(crate) struct DirectFile {
    buffered: File,
    direct: Option<File>,
    /// Whether a direct write failed although the file system accepted `O_DIRECT`.
    unsupported: AtomicBool,
}

/// A buffer for bytes at a file offset, whose memory has the alignment of that offset.
#[derive(Debug, Default)]
pub(crate) struct AlignedBuffer {
    memory: Vec<u8>,
    /// The offset of the first byte in the memory.
    lead: usize,
    /// The offset in the memory at which the buffer is full.
    end: usize,
}

impl DirectFile {
    /// Wraps a file that is open for writing. `path` is opened again for direct writes.
    #[cfg_attr(not(feature = "layout"), allow(dead_code, reason = "only layouts bypass the cache"))]
    pub(crate) fn new(file: File, path: &Path) -> Self {
        let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let direct = OpenOptions::new().write(true).custom_flags(flags).open(path);
        // File systems in memory do not support `O_DIRECT`, and do not need it.
        Self { buffered: file, direct: direct.ok(), unsupported: AtomicBool::new(false) }
    }

    /// Wraps a file that is always written through the page cache, because it is read back soon.
    pub(crate) fn buffered(file: File) -> Self {
        Self { buffered: file, direct: None, unsupported: AtomicBool::new(false) }
    }

    /// Whether direct writes are possible.
    pub(crate) fn uses_direct_io(&self) -> bool {
        self.direct.is_some() && !self.unsupported.load(Ordering::Relaxed)
    }

    /// Returns the file.
    pub(crate) fn file(&self) -> &File {
        &self.buffered
    }

    /// Writes bytes at an offset; whole blocks bypass the page cache if their memory is aligned.
    /// Blocks.
    pub(crate) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let Some((head, blocks)) = self.aligned_part(bytes, offset) else {
            return self.buffered.write_all_at(bytes, offset);
        };
        self.buffered.write_all_at(&bytes[..head], offset)?;
        let (start, end) = (offset + head as u64, head + blocks);
        self.write_blocks_at(&bytes[head..end], start)?;
        self.buffered.write_all_at(&bytes[end..], start + blocks as u64)
    }

    /// Returns the number of bytes before the first block, and the number in whole blocks.
    fn aligned_part(&self, bytes: &[u8], offset: u64) -> Option<(usize, usize)> {
        if !self.uses_direct_io() {
            return None;
        }
        let head = bytes.as_ptr().align_offset(BLOCK);
        let blocks = bytes.len().checked_sub(head)? / BLOCK * BLOCK;
        let fits = (offset + head as u64).is_multiple_of(BLOCK as u64);
        (blocks > 0 && fits).then_some((head, blocks))
    }

    fn write_blocks_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let Some(direct) = &self.direct else {
            return self.buffered.write_all_at(bytes, offset);
        };
        match direct.write_all_at(bytes, offset) {
            // Some file systems accept `O_DIRECT` when a file is opened, but reject direct writes.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.unsupported.store(true, Ordering::Relaxed);
                self.buffered.write_all_at(bytes, offset)
            }
            written => written,
        }
    }
}

impl AlignedBuffer {
    /// Clears the buffer for bytes at this file offset. The capacity is rounded so that the buffer
    /// ends at the end of a block.
    pub(crate) fn begin_at(&mut self, offset: u64, capacity: usize) {
        let within = usize::try_from(offset % BLOCK as u64).unwrap_or(0);
        self.memory.clear();
        self.memory.reserve(capacity + 2 * BLOCK);
        let lead = self.memory.as_ptr().align_offset(BLOCK).saturating_add(within);
        // If the memory cannot be aligned, writes go through the page cache.
        self.lead = if lead < 2 * BLOCK { lead } else { 0 };
        self.memory.resize(self.lead, 0);
        // A capacity below one block contains no end of a block.
        let whole = capacity.saturating_sub((within + capacity) % BLOCK);
        self.end = self.lead + if whole > 0 { whole } else { capacity };
    }

    /// Whether the buffer is full.
    pub(crate) fn is_full(&self) -> bool {
        self.memory.len() >= self.end
    }

    /// Appends as many bytes as fit, and returns the remaining ones.
    #[must_use]
    pub(crate) fn fill<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let capacity = self.end.saturating_sub(self.memory.len());
        let (now, later) = bytes.split_at(capacity.min(bytes.len()));
        self.memory.extend_from_slice(now);
        later
    }

    /// Returns the number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether there are no bytes.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Returns the bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.get(self.lead..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn direct_file_contains_written_bytes(
            pieces in proptest::collection::vec(0_usize..40_000, 1..8), start in 0_u64..20_000,
        ) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("file");
            let file = DirectFile::new(File::create(&path).unwrap(), &path);
            let mut buffer = AlignedBuffer::default();
            let (mut offset, mut expected) = (start, vec![0; usize::try_from(start).unwrap()]);
            for (number, size) in pieces.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..size).map(|n| (n * 7 + number).to_le_bytes()[0]).collect();
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    buffer.begin_at(offset, 10_000);
                    let left = buffer.fill(rest);
                    prop_assert_eq!(buffer.bytes(), &rest[..rest.len() - left.len()]);
                    file.write_all_at(buffer.bytes(), offset).unwrap();
                    offset += buffer.bytes().len() as u64;
                    rest = left;
                }
                expected.extend(bytes);
            }
            file.file().set_len(offset).unwrap();
            prop_assert!(std::fs::read(&path).unwrap() == expected);
        }
    }

    #[test]
    fn buffer_alignment_matches_file_offset() {
        let mut buffer = AlignedBuffer::default();
        let full = vec![1; 100_001];
        for offset in [0, 1, 4095, 4096, 10_001] {
            buffer.begin_at(offset, 100_000);
            let rest = buffer.fill(&full);
            assert!(!rest.is_empty() && buffer.is_full());
            let (address, block) = (buffer.bytes().as_ptr().addr() as u64, BLOCK as u64);
            assert_eq!(address % block, offset % block);
            assert_eq!((offset + buffer.bytes().len() as u64) % block, 0);
        }
    }
}
