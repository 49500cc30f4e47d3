//! Large files that are written past the system's cache, where the file system lets them.
//!
//! What is written once need not push everything else out of memory, and the end of the work does
//! not wait until the disk has caught up. Memory and disk have to be aligned for that
//! (`O_DIRECT` in open(2)); whatever is not goes through the cache as ever.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// What both the addresses in memory and the offsets in the file are multiples of. Disks know
/// blocks of 512 and of 4096 bytes.
pub const BLOCK: usize = 4096;

/// A file that is written in large pieces, in any order.
#[derive(Debug)]
pub struct DirectFile {
    buffered: File,
    direct: Option<File>,
    /// The file system refused, whatever it said when the file was opened.
    unsupported: AtomicBool,
}

/// Bytes for one place in a file, in memory that is aligned as the place is.
#[derive(Debug, Default)]
pub struct AlignedBuffer {
    memory: Vec<u8>,
    /// Bytes of the memory that stand before the first one that counts.
    lead: usize,
    /// How far the memory is filled.
    end: usize,
}

impl DirectFile {
    /// Takes a file that is open for writing, and its path.
    pub fn new(file: File, path: &Path) -> Self {
        let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let direct = OpenOptions::new().write(true).custom_flags(flags).open(path);
        // File systems in memory say no, and need no disk.
        Self { buffered: file, direct: direct.ok(), unsupported: AtomicBool::new(false) }
    }

    /// A file that is written through the cache, for those who read it soon.
    pub fn buffered(file: File) -> Self {
        Self { buffered: file, direct: None, unsupported: AtomicBool::new(false) }
    }

    /// Whether anything can go past the cache.
    pub fn uses_direct_io(&self) -> bool {
        self.direct.is_some() && !self.unsupported.load(Ordering::Relaxed)
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.buffered
    }

    /// Writes bytes at an offset; whole blocks of them past the cache where their memory is aligned
    /// as their place. This blocks.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let Some((head, blocks)) = self.aligned_part(bytes, offset) else {
            return self.buffered.write_all_at(bytes, offset);
        };
        self.buffered.write_all_at(&bytes[..head], offset)?;
        let (start, end) = (offset + head as u64, head + blocks);
        self.write_blocks_at(&bytes[head..end], start)?;
        self.buffered.write_all_at(&bytes[end..], start + blocks as u64)
    }

    /// How many bytes stand before the first block, and how many are in whole blocks.
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
            // Some file systems accept the flag, and no write with it.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.unsupported.store(true, Ordering::Relaxed);
                self.buffered.write_all_at(bytes, offset)
            }
            written => written,
        }
    }
}

impl AlignedBuffer {
    /// Forgets all bytes; the next one stands at this offset of a file. There is room for about so
    /// many: their end is that of a block.
    pub fn begin_at(&mut self, offset: u64, capacity: usize) {
        let within = usize::try_from(offset % BLOCK as u64).unwrap_or(0);
        self.memory.clear();
        self.memory.reserve(capacity + 2 * BLOCK);
        let lead = self.memory.as_ptr().align_offset(BLOCK).saturating_add(within);
        // Where memory cannot be aligned, it need not be.
        self.lead = if lead < 2 * BLOCK { lead } else { 0 };
        self.memory.resize(self.lead, 0);
        // Less than a block has no end of a block in it.
        let whole = capacity.saturating_sub((within + capacity) % BLOCK);
        self.end = self.lead + if whole > 0 { whole } else { capacity };
    }

    /// Whether there is no room for more.
    pub fn is_full(&self) -> bool {
        self.memory.len() >= self.end
    }

    /// Takes as many bytes as there is room for, and gives the others back.
    #[must_use]
    pub fn fill<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let capacity = self.end.saturating_sub(self.memory.len());
        let (now, later) = bytes.split_at(capacity.min(bytes.len()));
        self.memory.extend_from_slice(now);
        later
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// The bytes since the beginning.
    pub fn bytes(&self) -> &[u8] {
        self.memory.get(self.lead..).unwrap_or_default()
    }
}

impl From<Vec<u8>> for AlignedBuffer {
    /// Takes bytes wherever they are in memory.
    fn from(memory: Vec<u8>) -> Self {
        Self { lead: 0, end: memory.len(), memory }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_stands_in_the_file(
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
    fn memory_is_aligned_as_its_place_until_it_is_full() {
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
