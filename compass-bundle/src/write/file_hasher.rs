//! The digest of a file that is written out of order.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use compass_registry::{Digest, Hasher};

use super::inline_hasher::InlineBlobHasher;

/// Bytes that are read back at once.
const READ: usize = 256 << 10;

/// Hashes a file up to the first byte that is not written yet. Bytes that arrive in order are hashed
/// from memory; bytes that arrived early are read back from the file.
pub(super) struct OutOfOrderHasher {
    file: File,
    hasher: Hasher,
    hashed_up_to: u64,
    /// The written ranges after that byte, as a map from start to end.
    committed: BTreeMap<u64, u64>,
    buffer: Vec<u8>,
}

impl OutOfOrderHasher {
    pub(super) fn new(file: File) -> Self {
        let (hasher, committed) = (Hasher::default(), BTreeMap::new());
        Self { file, hasher, hashed_up_to: 0, committed, buffer: Vec::new() }
    }

    /// Hashes bytes that will be written to `offset`, if they are the next ones of the file.
    ///
    /// Returns whether they were. If not, the caller must call [`Self::committed`] after they are
    /// written. In either case they are hashed as bytes of `blob`.
    pub(super) fn feed(
        &mut self,
        offset: u64,
        bytes: &[u8],
        blob: Option<&mut InlineBlobHasher>,
    ) -> std::io::Result<bool> {
        if offset != self.hashed_up_to {
            blob.map_or(Ok(()), |blob| blob.update(bytes))?;
            return Ok(false);
        }
        match blob {
            Some(blob) => blob.update_with_file(bytes, &mut self.hasher)?,
            None => self.hasher.update(bytes),
        }
        self.hashed_up_to += bytes.len() as u64;
        self.advance()?;
        Ok(true)
    }

    /// Reports that a range of the file is written and final.
    pub(super) fn committed(&mut self, range: Range<u64>) -> std::io::Result<()> {
        if !range.is_empty() {
            self.committed.insert(range.start, range.end);
        }
        self.advance()
    }

    fn advance(&mut self) -> std::io::Result<()> {
        while let Some(end) = self.committed.remove(&self.hashed_up_to) {
            self.buffer.resize(READ, 0);
            while self.hashed_up_to < end {
                let count = usize::try_from(end - self.hashed_up_to).unwrap_or(READ).min(READ);
                self.file.read_exact_at(&mut self.buffer[..count], self.hashed_up_to)?;
                self.hasher.update(&self.buffer[..count]);
                self.hashed_up_to += count as u64;
            }
        }
        Ok(())
    }

    /// Returns the number of hashed bytes and their digest.
    pub(super) fn finish(self) -> (u64, Digest) {
        (self.hashed_up_to, self.hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn out_of_order_hasher_any_order_yields_digest(
            sizes in proptest::collection::vec(1_usize..400_000, 1..8), seed: u64,
        ) {
            let length: usize = sizes.iter().sum();
            let content: Vec<u8> = (0..length).map(|n| ((n * 7) >> 2).to_le_bytes()[0]).collect();
            let mut ranges: Vec<_> = sizes.iter().scan(0, |start, size| {
                *start += size;
                Some(*start - size..*start)
            }).collect();
            ranges.sort_by_key(|range| (range.start as u64 + 1).wrapping_mul(seed | 1));
            let file = tempfile::tempfile().unwrap();
            let mut hasher = OutOfOrderHasher::new(file.try_clone().unwrap());
            for range in ranges {
                let offset = range.start as u64;
                let hashed = hasher.feed(offset, &content[range.clone()], None).unwrap();
                file.write_all_at(&content[range.clone()], offset).unwrap();
                if !hashed {
                    hasher.committed(offset..range.end as u64).unwrap();
                }
            }
            prop_assert_eq!(hasher.finish(), (length as u64, Digest::of(&content)));
        }
    }
}
