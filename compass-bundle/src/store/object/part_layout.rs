//! The division of a bundle into parts. It depends only on the plan, so that any process can resume
//! an upload or send a share of it.
//!
//! Parts end at the ends of large blobs, so that blobs are copied from other bundles and read by one
//! process each. A part must have 5 MiB, except the last one, but the bytes between two large blobs
//! are fewer. Therefore these bytes and the beginning of the blob after them form a part.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::plan::BundlePlan;
use crate::plan::members::Content;

/// The smallest part of S3, except the last one, in bytes. OSS accepts smaller ones.
pub(super) const MIN_PART: u64 = 5 << 20;

/// The part size of bundles that have few parts.
const SMALLEST_PART_SIZE: u64 = 2 * MIN_PART;

/// The maximum number of parts of S3 and OSS.
const MAX_PARTS: usize = 10_000;

/// The maximum size of a part of S3 and OSS in bytes.
const MAX_PART: u64 = 5 << 30;

/// The size of parts of large bundles is a multiple of this number of bytes.
const ALIGNMENT: u64 = 1 << 20;

/// The parts of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartLayout {
    /// The end of each part.
    ends: Arc<[u64]>,
    /// Whether parts end at the ends of large blobs.
    is_aligned: bool,
}

/// A member of a bundle.
struct PlacedMember {
    range: Range<u64>,
    /// The index of the blob that it holds, and whether the member is nested.
    blob: Option<(usize, bool)>,
}

impl PartLayout {
    /// Computes the parts of a bundle. Returns `None` if the bundle is too large for storages.
    pub(super) fn new(plan: &BundlePlan) -> Option<Self> {
        let members = plan.members().iter().map(|member| {
            let blob = match member.content {
                Content::Blob { blob, .. } => Some((blob, member.place.nested)),
                Content::Run(_) => None,
            };
            PlacedMember { range: member.place.file_range(), blob }
        });
        Self::of_members(&members.collect::<Vec<_>>(), plan.size())
    }

    fn of_members(members: &[PlacedMember], size: u64) -> Option<Self> {
        let mut part_size = size.div_ceil(MAX_PARTS as u64).max(SMALLEST_PART_SIZE);
        while part_size <= MAX_PART {
            part_size = part_size.next_multiple_of(ALIGNMENT);
            let ends = Cutter::new(part_size).cut(members, size);
            let layout = Self { ends: ends.into(), is_aligned: true };
            if layout.is_within_limits() {
                return Some(layout);
            }
            part_size += part_size / 4;
        }
        Self::uniform(size)
    }

    fn is_within_limits(&self) -> bool {
        let mut numbers = 1..=self.count();
        self.ends.len() <= MAX_PARTS && numbers.all(|number| self.part_size(number) <= MAX_PART)
    }

    /// Parts of equal size, for bundles that have too many parts otherwise.
    fn uniform(size: u64) -> Option<Self> {
        let part_size = size.div_ceil(MAX_PARTS as u64).next_multiple_of(ALIGNMENT);
        let count = size.div_ceil(part_size);
        let ends = (1..=count).map(|number| size.min(number * part_size)).collect();
        (part_size <= MAX_PART).then_some(Self { ends, is_aligned: false })
    }

    /// Creates parts with these ends.
    #[cfg(test)]
    pub(super) fn with_ends(ends: &[u64]) -> Self {
        Self { ends: ends.into(), is_aligned: true }
    }

    /// The size of the object in bytes.
    pub(super) fn size(&self) -> u64 {
        self.ends.last().copied().unwrap_or_default()
    }

    /// The number of parts.
    pub(super) fn count(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Whether parts end at the ends of large blobs.
    pub(super) fn is_aligned(&self) -> bool {
        self.is_aligned
    }

    /// The range of a part, whose number starts at 1. Empty for other numbers.
    pub(super) fn range(&self, number: u64) -> Range<u64> {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let end = |index: Option<usize>| index.and_then(|index| self.ends.get(index)).copied();
        let start = end(index.checked_sub(2)).unwrap_or_default();
        start..end(index.checked_sub(1)).unwrap_or(start)
    }

    /// The size of a part in bytes.
    pub(super) fn part_size(&self, number: u64) -> u64 {
        let range = self.range(number);
        range.end - range.start
    }

    /// The ends of all parts.
    pub(super) fn ends(&self) -> &[u64] {
        &self.ends
    }
}

/// Cuts the members of a bundle into parts.
struct Cutter {
    /// The maximum size of parts of large members, and the smallest size of a large member.
    part_size: u64,
    /// The smallest size of all parts but the last one.
    min_part: u64,
}

impl Cutter {
    fn new(part_size: u64) -> Self {
        Self { part_size, min_part: part_size / 2 }
    }

    fn is_large(&self, member: &PlacedMember) -> bool {
        member.range.end - member.range.start >= self.part_size
    }

    /// Returns the ends of the parts.
    fn cut(&self, members: &[PlacedMember], size: u64) -> Vec<u64> {
        let smallest = self.smallest_gaps(members);
        let (mut ends, mut start) = (Vec::new(), 0);
        for member in members {
            let Range { start: begin, end } = member.range.clone();
            if !self.is_large(member) {
                if begin - start >= self.min_part {
                    ends.push(begin);
                    start = begin;
                }
                continue;
            }
            let gap = member.blob.and_then(|blob| smallest.get(&blob).copied());
            let head = self.min_part.saturating_sub(gap.unwrap_or(begin - start));
            if begin + head > start {
                ends.push(begin + head);
            }
            ends.extend(self.slices(begin + head..end));
            start = end;
        }
        if size > start {
            ends.push(size);
        }
        ends
    }

    /// The smallest number of bytes before a large blob that belong to no other large blob.
    ///
    /// The blob is cut at the same bytes at all its places, so that it is read once for all of them.
    fn smallest_gaps(&self, members: &[PlacedMember]) -> HashMap<(usize, bool), u64> {
        let (mut smallest, mut start) = (HashMap::new(), 0);
        for member in members {
            let begin = member.range.start;
            if self.is_large(member) {
                if let Some(blob) = member.blob {
                    let gap = smallest.entry(blob).or_insert(u64::MAX);
                    *gap = (*gap).min(begin - start);
                }
                start = member.range.end;
            } else if begin - start >= self.min_part {
                start = begin;
            }
        }
        smallest
    }

    /// The ends of parts of nearly equal size.
    fn slices(&self, range: Range<u64>) -> impl Iterator<Item = u64> {
        let length = range.end - range.start;
        let count = match self.part_size {
            // They are kept in memory, so they are as small as possible.
            SMALLEST_PART_SIZE => length / MIN_PART,
            part_size => length.div_ceil(part_size),
        };
        let count = count.max(1);
        // The first ones have a byte more than the last ones, if the length is not a multiple.
        let (size, rest) = (length / count, length % count);
        (1..=count).map(move |number| range.start + number * size + rest.min(number))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Members of these sizes. Blobs of equal numbers are the same blob.
    fn members(sizes: &[(u64, Option<usize>)]) -> (Vec<PlacedMember>, u64) {
        let mut end = 0;
        let members = sizes.iter().map(|(size, blob)| {
            let start = end;
            end += size;
            PlacedMember { range: start..end, blob: blob.map(|number| (number, true)) }
        });
        let members = members.collect();
        (members, end)
    }

    fn layout(sizes: &[(u64, Option<usize>)]) -> PartLayout {
        let (members, size) = members(sizes);
        PartLayout::of_members(&members, size).unwrap()
    }

    fn sizes(layout: &PartLayout) -> Vec<u64> {
        (1..=layout.count()).map(|number| layout.part_size(number)).collect()
    }

    #[test]
    fn large_blobs_are_cut_after_beginning() {
        let layout = layout(&[
            (MIB, None),
            (25 * MIB, Some(0)),
            (1000, None),
            (4 * MIB, Some(1)),
            (10 * MIB, Some(2)),
            (5000, None),
        ]);
        let gap = 1000 + 4 * MIB;
        let expected = [5 * MIB, 5 * MIB + MIB / 4, 5 * MIB, 10 * MIB + gap - 5 * MIB, 5000];
        let mut sizes = sizes(&layout);
        assert_eq!(sizes[1..5], [expected[1]; 4]);
        sizes.dedup();
        assert_eq!(sizes, expected);
    }

    #[test]
    fn repeated_blob_is_cut_at_same_bytes() {
        let blob = (30 * MIB, Some(0));
        let layout = layout(&[(1000, None), blob, (3 * MIB, None), blob, (10, None)]);
        let sizes = sizes(&layout);
        assert_eq!(sizes[0], 5 * MIB);
        assert_eq!(sizes[1..6], sizes[7..12]);
        assert_eq!(sizes[6], 8 * MIB - 1000);
    }

    #[test]
    fn small_bundle_is_one_part() {
        assert_eq!(sizes(&layout(&[(1000, None), (4 * MIB, Some(0)), (7, None)])).len(), 1);
        assert_eq!(sizes(&layout(&[(0, None), (1, None)])), [1]);
    }

    #[test]
    fn parts_grow_with_bundle() {
        // 20 TB of layers of 1 GB, and 48 TB of one layer each TB.
        let layers: Vec<_> =
            (0..20_000).flat_map(|n| [(1500, None), (1_000_000_000, Some(n))]).collect();
        let aligned = layout(&layers);
        assert!(aligned.is_aligned() && aligned.count() <= 10_000, "{}", aligned.count());
        let layers: Vec<_> = (0..48).map(|n| (1_000_000_000_000, Some(n))).collect();
        let uniform = layout(&layers);
        assert!(!uniform.is_aligned() && uniform.count() <= 10_000);
        let (members, size) = members(&[(60_000_000_000_000, None)]);
        assert_eq!(PartLayout::of_members(&members, size), None);
    }

    fn size() -> impl Strategy<Value = u64> {
        prop_oneof![
            1_u64..3000,
            1..12 * MIB,
            10 * MIB..300 * MIB,
            Just(10 * MIB),
            Just(5 * MIB),
            1..100_000 * MIB
        ]
    }

    proptest! {
        #[test]
        fn parts_cover_bundle_within_limits(
            members in proptest::collection::vec((size(), proptest::option::of(0_usize..6)), 1..60),
        ) {
            // A blob has one size.
            let blobs: HashMap<_, _> =
                members.iter().filter_map(|(size, blob)| Some((*blob.as_ref()?, *size))).collect();
            let members: Vec<_> = members
                .into_iter()
                .map(|(size, blob)| (blob.map_or(size, |blob| blobs[&blob]), blob))
                .collect();
            let layout = layout(&members);
            let sizes = sizes(&layout);
            prop_assert!(sizes.len() <= MAX_PARTS);
            prop_assert_eq!(sizes.iter().sum::<u64>(), members.iter().map(|one| one.0).sum::<u64>());
            prop_assert!(sizes.iter().all(|size| *size > 0 && *size <= MAX_PART));
            let (_last, all_but_last) = sizes.split_last().unwrap();
            prop_assert!(all_but_last.iter().all(|size| *size >= MIN_PART), "{:?}", sizes);
            if sizes.iter().sum::<u64>() < 10_000 * MIB {
                prop_assert!(sizes.iter().all(|size| *size < 20 * MIB));
            }
        }
    }
}
