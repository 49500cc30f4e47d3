//! Parts of a blob that are fetched ahead and written to their places in the file.
//!
//! Several slow connections together use a fast link, and bytes that arrive early need no memory.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use compass_registry::Error;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;

use super::blob::BlobTask;

/// Parts in flight, in order and without gaps.
pub(super) struct Prefetcher {
    task: Arc<BlobTask>,
    parts: VecDeque<Part>,
    /// The start of the next part.
    next: u64,
}

struct Part {
    range: Range<u64>,
    fetch: AbortOnDropHandle<Result<(), Error>>,
    /// Permits that limit the unverified bytes in the file and the number of connections.
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Prefetcher {
    pub(super) fn new(task: &Arc<BlobTask>) -> Self {
        Self { task: Arc::clone(task), parts: VecDeque::new(), next: 0 }
    }

    /// Returns the start of the first part in flight.
    pub(super) fn first_start(&self) -> Option<u64> {
        self.parts.front().map(|part| part.range.start)
    }

    /// Starts parts from this byte on, while connections are available.
    pub(super) fn start_at(&mut self, byte: u64) {
        let Some(parts) = self.task.source().range_options() else { return };
        self.next = self.next.max(byte);
        while self.next < self.task.size() {
            let Some(prefetch) = self.task.concurrency().try_acquire_prefetch() else { return };
            let Some(connection) = parts.try_acquire_connection() else { return };
            let range = self.next..(self.next + parts.range_len()).min(self.task.size());
            self.next = range.end;
            let fetch = tokio::spawn(Arc::clone(&self.task).fetch_part(range.clone()));
            let fetch = AbortOnDropHandle::new(fetch);
            self.parts.push_back(Part { range, fetch, _permits: (prefetch, connection) });
        }
    }

    /// Starts parts after those in flight.
    pub(super) fn refill(&mut self) {
        self.start_at(self.next);
    }

    /// Waits until the first part is in the file and returns its end; `None` if none is in flight.
    pub(super) async fn next_completed(&mut self) -> Result<Option<u64>, Error> {
        let Some(Part { range, fetch, _permits }) = self.parts.pop_front() else {
            return Ok(None);
        };
        fetch.await.map_err(|error| self.task.failed(Box::new(error)))??;
        Ok(Some(range.end))
    }
}
