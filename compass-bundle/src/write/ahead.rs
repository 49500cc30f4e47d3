//! Parts of a blob that are fetched straight to their places, before it is their turn to be proven:
//! what makes a slow connection bearable, and needs no memory.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use compass_registry::Error;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;

use super::blob::Job;

/// Parts on their way, in order and without gaps.
pub(super) struct Ahead {
    job: Arc<Job>,
    parts: VecDeque<Part>,
    /// Where the next one begins.
    next: u64,
}

/// One part.
struct Part {
    range: Range<u64>,
    task: AbortOnDropHandle<Result<(), Error>>,
    /// Bound how much of the file can be ahead, and how many connections there are.
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Ahead {
    pub(super) fn new(job: &Arc<Job>) -> Self {
        Self { job: Arc::clone(job), parts: VecDeque::new(), next: 0 }
    }

    /// Where the first part begins.
    pub(super) fn start(&self) -> Option<u64> {
        self.parts.front().map(|part| part.range.start)
    }

    /// Fetches parts from this byte on, as long as there are connections for them.
    pub(super) fn fetch_from(&mut self, byte: u64) {
        let Some(parts) = self.job.source().range_options() else { return };
        self.next = self.next.max(byte);
        while self.next < self.job.size() {
            let Some(room) = self.job.appetite().room_ahead() else { return };
            let Some(connection) = parts.try_acquire_connection() else { return };
            let range = self.next..(self.next + parts.range_len()).min(self.job.size());
            self.next = range.end;
            let task = tokio::spawn(Arc::clone(&self.job).fetch(range.clone()));
            let task = AbortOnDropHandle::new(task);
            self.parts.push_back(Part { range, task, _permits: (room, connection) });
        }
    }

    /// Waits until the first part stands in the file, and gives its end.
    pub(super) async fn first(&mut self) -> Result<Option<u64>, Error> {
        let Some(Part { range, task, _permits }) = self.parts.pop_front() else { return Ok(None) };
        task.await.map_err(|error| self.job.failed(Box::new(error)))??;
        Ok(Some(range.end))
    }

    /// Goes on behind the last part, where there are any.
    pub(super) fn fetch_more(&mut self) {
        self.fetch_from(self.next);
    }
}
