//! Pseudo-random decisions.

use compass_registry::testing::random_bytes;

/// Bytes per seed; a history uses a few thousand.
const LENGTH: usize = 1 << 16;

pub(crate) struct Choices {
    bytes: Vec<u8>,
    position: usize,
}

impl Choices {
    pub(crate) fn new(seed: u64) -> Self {
        Self { bytes: random_bytes(seed, LENGTH), position: 0 }
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let number = &self.bytes[self.position..self.position + 4];
        let number = u32::from_le_bytes([number[0], number[1], number[2], number[3]]);
        self.position = (self.position + 4) % LENGTH;
        number as usize % end.max(1)
    }

    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
