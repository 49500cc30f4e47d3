//! The space that a cache takes, and the order in which its content was used.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::storage::DiskStorage;
use crate::{Digest, Error};

/// How often the last use of a blob is written to the disk.
const TOUCH_INTERVAL: Duration = Duration::from_mins(10);

/// The blobs and manifests of a cache, and the space for those that arrive.
#[derive(Debug)]
pub(super) struct Space {
    max: u64,
    /// The bytes of `entries`, and of the reservations.
    used: u64,
    entries: HashMap<Digest, Entry>,
    /// The entries by the time of their last use.
    order: BTreeMap<u64, Digest>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    size: u64,
    last_use: u64,
    written: Instant,
}

impl Space {
    /// Reads what a cache contains. Also returns the digests of what exceeds its size.
    pub(super) async fn load(disk: &DiskStorage, max: u64) -> Result<(Self, Vec<Digest>), Error> {
        let mut space =
            Self { max, used: 0, entries: HashMap::new(), order: BTreeMap::new(), uses: 0 };
        let mut content = disk.content().await?;
        content.sort_by_key(|(_, _, modified)| *modified);
        for (digest, size, _) in content {
            space.used += size;
            space.insert(digest, size);
        }
        let evicted = space.evict();
        Ok((space, evicted))
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Reserves space for content. Returns the digests of the content to remove for it, or `None` if
    /// the content that is arriving takes too much space.
    pub(super) fn reserve(&mut self, size: u64) -> Option<Vec<Digest>> {
        let cached: u64 = self.entries.values().map(|entry| entry.size).sum();
        let needed = (self.used - cached).checked_add(size)?;
        if needed > self.max {
            return None;
        }
        self.used += size;
        Some(self.evict())
    }

    /// Returns reserved space.
    pub(super) fn release(&mut self, size: u64) {
        self.used = self.used.saturating_sub(size);
    }

    /// Adds content for which space was reserved.
    pub(super) fn insert(&mut self, digest: Digest, size: u64) {
        self.uses += 1;
        let entry = Entry { size, last_use: self.uses, written: Instant::now() };
        if let Some(replaced) = self.entries.insert(digest, entry) {
            self.order.remove(&replaced.last_use);
            self.release(replaced.size);
        }
        self.order.insert(self.uses, digest);
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.entries.contains_key(digest)
    }

    /// Removes content that is not on the disk any more.
    pub(super) fn forget(&mut self, digest: &Digest) {
        if let Some(entry) = self.entries.remove(digest) {
            self.order.remove(&entry.last_use);
            self.release(entry.size);
        }
    }

    /// Records that content was used. Returns whether to write that to the disk.
    pub(super) fn touch(&mut self, digest: &Digest) -> bool {
        let Some(entry) = self.entries.get_mut(digest) else { return false };
        self.uses += 1;
        self.order.remove(&entry.last_use);
        entry.last_use = self.uses;
        self.order.insert(self.uses, *digest);
        let is_due = entry.written.elapsed() >= TOUCH_INTERVAL;
        if is_due {
            entry.written = Instant::now();
        }
        is_due
    }

    /// Forgets the content that was not used for the longest time, until the rest fits.
    fn evict(&mut self) -> Vec<Digest> {
        let mut evicted = Vec::new();
        while self.used > self.max
            && let Some((_, digest)) = self.order.pop_first()
        {
            if let Some(entry) = self.entries.remove(&digest) {
                self.release(entry.size);
            }
            evicted.push(digest);
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(max: u64) -> Space {
        Space { max, used: 0, entries: HashMap::new(), order: BTreeMap::new(), uses: 0 }
    }

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn add(space: &mut Space, name: &str, size: u64) -> Option<Vec<Digest>> {
        let evicted = space.reserve(size)?;
        space.insert(digest(name), size);
        Some(evicted)
    }

    #[test]
    fn reserve_evicts_least_recently_used() {
        let mut space = space(100);
        for name in ["a", "b", "c"] {
            assert_eq!(add(&mut space, name, 30), Some(vec![]));
        }
        space.touch(&digest("a"));
        assert_eq!(add(&mut space, "d", 60), Some(vec![digest("b"), digest("c")]));
        assert_eq!(space.used(), 90);
        assert_eq!(add(&mut space, "e", 101), None);
        assert_eq!(space.used(), 90);
        // Content that is arriving is not removed.
        assert_eq!(space.reserve(70), Some(vec![digest("a"), digest("d")]));
        assert_eq!(space.reserve(40), None);
        space.release(70);
        assert_eq!(space.reserve(40), Some(vec![]));
    }

    #[test]
    fn insert_and_forget_count_size_once() {
        let mut space = space(100);
        add(&mut space, "a", 30);
        add(&mut space, "a", 30);
        assert_eq!(space.used(), 30);
        assert_eq!(space.order.len(), 1);
        space.forget(&digest("a"));
        assert_eq!((space.used(), space.order.len()), (0, 0));
        assert!(!space.contains(&digest("a")));
    }
}
