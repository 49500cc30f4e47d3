//! The division of an object into parts. It depends only on the size, so that any process can resume
//! an upload.

use std::ops::Range;

/// The smallest size of a part, except the last one, in bytes.
pub(super) const MIN_PART: u64 = 8 << 20;

/// The maximum number of parts of S3 and OSS.
const MAX_PARTS: u64 = 10_000;

/// The maximum size of a part of S3 and OSS in bytes.
const MAX_PART: u64 = 5 << 30;

/// The size of a part is a multiple of this number of bytes.
const ALIGNMENT: u64 = 1 << 20;

/// The parts of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartLayout {
    pub(super) size: u64,
    pub(super) part_size: u64,
}

impl PartLayout {
    /// Computes the parts of an object. Returns `None` if the object is too large for storages.
    pub(super) fn new(size: u64) -> Option<Self> {
        let part_size = size.div_ceil(MAX_PARTS).next_multiple_of(ALIGNMENT).max(MIN_PART);
        (part_size <= MAX_PART).then_some(Self { size, part_size })
    }

    /// The number of parts, at least one.
    pub(super) fn count(self) -> u64 {
        self.size.div_ceil(self.part_size).max(1)
    }

    /// The range of a part, whose number starts at 1.
    pub(super) fn range(self, number: u64) -> Range<u64> {
        let start = (number - 1) * self.part_size;
        start..self.size.min(start + self.part_size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_cover_object(size in prop_oneof![0..100 * MIN_PART, 0..48_000_000_000_000_u64]) {
            let layout = PartLayout::new(size).unwrap();
            prop_assert!(layout.count() <= MAX_PARTS);
            prop_assert_eq!(layout.range(1).start, 0);
            prop_assert_eq!(layout.range(layout.count()).end, size);
            for number in [1, layout.count() / 2, layout.count() - 1] {
                if (1..layout.count()).contains(&number) {
                    let range = layout.range(number);
                    prop_assert_eq!(range.end - range.start, layout.part_size);
                    prop_assert_eq!(range.end, layout.range(number + 1).start);
                }
            }
        }
    }

    #[test]
    fn part_size_grows_with_object() {
        assert_eq!(PartLayout::new(1).unwrap().part_size, MIN_PART);
        assert_eq!(PartLayout::new(MIN_PART * MAX_PARTS).unwrap().part_size, MIN_PART);
        assert!(PartLayout::new(MIN_PART * MAX_PARTS + 1).unwrap().part_size > MIN_PART);
        assert!(PartLayout::new(48_000_000_000_000).is_some());
        assert_eq!(PartLayout::new(MAX_PART * MAX_PARTS + 1), None);
    }
}
