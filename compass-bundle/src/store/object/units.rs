//! The parts that are read together, and their distribution over several processes.

use std::collections::HashMap;
use std::ops::Range;

use super::part_layout::PartLayout;
use crate::plan::BundlePlan;
use crate::plan::members::{Content, PlannedMember};
use crate::store::Shard;

/// The parts that are read together: either one part that holds whole members, or all parts that hold
/// a large blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    /// One span for each place of a large blob.
    pub(super) spans: Vec<Span>,
}

/// Consecutive parts that begin and end with a member. Only the last member is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// The indexes of the members.
    pub(super) members: Range<usize>,
    /// The numbers of the parts.
    pub(super) parts: Range<u64>,
}

impl Unit {
    /// The numbers of the parts.
    pub(super) fn parts(&self) -> impl Iterator<Item = u64> {
        self.spans.iter().flat_map(|span| span.parts.clone())
    }

    /// The size of all parts in bytes.
    pub(super) fn size(&self, layout: &PartLayout) -> u64 {
        self.parts().map(|number| layout.part_size(number)).sum()
    }
}

/// Groups all parts, in their order. The parts must be aligned.
pub(super) fn units(plan: &BundlePlan, layout: &PartLayout) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut of_blob: HashMap<usize, usize> = HashMap::new();
    for span in spans(plan, layout) {
        let last = plan.members().get(span.members.end - 1);
        let is_large = span.parts.end - span.parts.start > 1 || span.members.len() == 1;
        let blob = last.filter(|_| is_large).and_then(|member| match member.content {
            Content::Blob { blob, .. } => Some(blob),
            Content::Run(_) => None,
        });
        let known = blob.and_then(|blob| of_blob.get(&blob).copied());
        match known.and_then(|number| units.get_mut(number)) {
            Some(unit) => unit.spans.push(span),
            None => {
                if let Some(blob) = blob {
                    of_blob.insert(blob, units.len());
                }
                units.push(Unit { spans: vec![span] });
            }
        }
    }
    units
}

/// The shortest sequences of parts that begin and end with a member.
fn spans(plan: &BundlePlan, layout: &PartLayout) -> Vec<Span> {
    let members = plan.members();
    let (mut spans, mut first_member, mut first_part) = (Vec::new(), 0, 1);
    for (number, end) in (1..).zip(layout.ends()) {
        let end_of = |member: &PlannedMember| member.place.file_range().end;
        let complete = members[first_member..].partition_point(|member| end_of(member) <= *end);
        let complete = first_member + complete;
        if complete > first_member && end_of(&members[complete - 1]) == *end {
            spans.push(Span { members: first_member..complete, parts: first_part..number + 1 });
            (first_member, first_part) = (complete, number + 1);
        }
    }
    spans
}

/// The units that a process sends. The units of all shards together are all units.
///
/// The largest unit goes to the shard with the fewest bytes, until all are distributed.
pub(super) fn share(units: Vec<Unit>, layout: &PartLayout, shard: Shard) -> Vec<Unit> {
    let count = usize::try_from(shard.count()).unwrap_or(1).max(1);
    let mut by_size: Vec<_> = units.iter().map(|unit| unit.size(layout)).enumerate().collect();
    by_size.sort_by_key(|(number, size)| (std::cmp::Reverse(*size), *number));
    let (mut loads, mut owners) = (vec![0; count], vec![0; units.len()]);
    for (number, size) in by_size {
        let smallest = loads.iter().enumerate().min_by_key(|(owner, load)| (**load, *owner));
        let owner = smallest.map_or(0, |(owner, _)| owner);
        loads[owner] += size;
        owners[number] = owner;
    }
    let own = usize::try_from(shard.number() - 1).unwrap_or_default();
    units.into_iter().zip(owners).filter(|(_, owner)| *owner == own).map(|(unit, _)| unit).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit(number: u64) -> Unit {
        Unit { spans: vec![Span { members: 0..1, parts: number..number + 1 }] }
    }

    proptest! {
        #[test]
        fn shares_are_disjoint_and_complete(
            sizes in proptest::collection::vec(1_u64..1000, 1..50), count in 1_u32..12,
        ) {
            let ends = sizes.iter().scan(0, |end, size| {
                *end += size;
                Some(*end)
            });
            let ends: Vec<u64> = ends.collect();
            let layout = PartLayout::with_ends(&ends);
            let units: Vec<_> = (1..=layout.count()).map(unit).collect();
            let (mut all, mut loads) = (Vec::new(), Vec::new());
            for number in 1..=count {
                let own = share(units.clone(), &layout, Shard::new(number, count).unwrap());
                loads.push(own.iter().map(|unit| unit.size(&layout)).sum::<u64>());
                all.extend(own.iter().flat_map(Unit::parts));
            }
            all.sort_unstable();
            prop_assert_eq!(all, (1..=layout.count()).collect::<Vec<_>>());
            let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
            prop_assert!(most - least <= *sizes.iter().max().unwrap());
        }
    }
}
