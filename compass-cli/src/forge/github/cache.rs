//! A cache of answers by entity tag: an answer that did not change costs no request of the limit.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use reqwest::Url;

/// The maximum size of all cached bodies in bytes.
const MAX_BYTES: usize = 8 << 20;

/// A cached answer.
#[derive(Debug)]
pub(super) struct Cached {
    pub(super) tag: String,
    pub(super) body: Bytes,
    /// The URL of the next page.
    pub(super) next: Option<Url>,
}

/// The latest answers, by URL. The oldest are dropped first.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    by_url: HashMap<Url, Arc<Cached>>,
    order: VecDeque<Url>,
    bytes: usize,
}

impl Cache {
    pub(super) fn get(&self, url: &Url) -> Option<Arc<Cached>> {
        self.entries().by_url.get(url).cloned()
    }

    pub(super) fn insert(&self, url: &Url, cached: Cached) {
        let mut entries = self.entries();
        entries.remove(url);
        if cached.body.len() > MAX_BYTES / 4 {
            return;
        }
        entries.bytes += cached.body.len();
        entries.by_url.insert(url.clone(), Arc::new(cached));
        entries.order.push_back(url.clone());
        while entries.bytes > MAX_BYTES {
            let Some(oldest) = entries.order.front().cloned() else { return };
            entries.remove(&oldest);
        }
    }

    pub(super) fn remove(&self, url: &Url) {
        self.entries().remove(url);
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn remove(&mut self, url: &Url) {
        if let Some(removed) = self.by_url.remove(url) {
            self.bytes -= removed.body.len();
            self.order.retain(|other| other != url);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_drops_oldest_answers() {
        let cache = Cache::default();
        let url = |n: usize| Url::parse(&format!("https://h/{n}")).unwrap();
        let insert = |n, size: usize| {
            let body = Bytes::from(vec![0; size]);
            cache.insert(&url(n), Cached { tag: n.to_string(), body, next: None });
        };
        for n in 0..6 {
            insert(n, MAX_BYTES / 5);
        }
        assert!(cache.get(&url(0)).is_none());
        assert_eq!(cache.get(&url(5)).unwrap().tag, "5");
        insert(5, MAX_BYTES);
        assert!(
            cache.get(&url(5)).is_none(),
            "a large answer replaces the old one, and is not kept"
        );
        assert_eq!(cache.entries().bytes, 4 * (MAX_BYTES / 5));
    }
}
