//! The digest of a file that is written in any order.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use compass_registry::{Digest, Hasher};

use super::passing::Passing;

/// Bytes that are read back at once.
const READ: usize = 256 << 10;

/// Hashes a file up to the first byte that is not written yet. What comes in order is hashed where
/// it is; what came early is read back.
pub(crate) struct Frontier {
    file: File,
    hasher: Hasher,
    reached: u64,
    /// What is written beyond, by where it begins.
    ahead: BTreeMap<u64, u64>,
    buffer: Vec<u8>,
}

impl Frontier {
    pub(crate) fn new(file: File) -> Self {
        let (hasher, ahead) = (Hasher::default(), BTreeMap::new());
        Self { file, hasher, reached: 0, ahead, buffer: Vec::new() }
    }

    /// Hashes bytes that are on their way to `offset`, where they are the next ones. Otherwise they
    /// have to be announced by [`Self::settled`] when they are written. In either case they are
    /// hashed as bytes of the blob that passes, where they are some.
    pub(crate) fn pass(
        &mut self,
        offset: u64,
        bytes: &[u8],
        blob: Option<&mut Passing>,
    ) -> std::io::Result<bool> {
        if offset != self.reached {
            blob.map_or(Ok(()), |blob| blob.pass(bytes))?;
            return Ok(false);
        }
        match blob {
            Some(blob) => blob.pass_with(bytes, &mut self.hasher)?,
            None => self.hasher.update(bytes),
        }
        self.reached += bytes.len() as u64;
        self.advance()?;
        Ok(true)
    }

    /// What stands in this range is written, and stays.
    pub(crate) fn settled(&mut self, range: Range<u64>) -> std::io::Result<()> {
        if !range.is_empty() {
            self.ahead.insert(range.start, range.end);
        }
        self.advance()
    }

    fn advance(&mut self) -> std::io::Result<()> {
        while let Some(end) = self.ahead.remove(&self.reached) {
            self.buffer.resize(READ, 0);
            while self.reached < end {
                let count = usize::try_from(end - self.reached).unwrap_or(READ).min(READ);
                self.file.read_exact_at(&mut self.buffer[..count], self.reached)?;
                self.hasher.update(&self.buffer[..count]);
                self.reached += count as u64;
            }
        }
        Ok(())
    }

    /// How many bytes there were, and their digest.
    pub(crate) fn finish(self) -> (u64, Digest) {
        (self.reached, self.hasher.finish())
    }
}
