//! The pull requests that wait to be looked at, each at most once.
//!
//! A pull request has at most one worker. What arrives while it is looked at makes it wait again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The maximum number of pull requests that wait one by one.
const MAX_WAITING: usize = 10_000;

/// The delay after the first failure. Each further failure doubles it.
const FIRST_DELAY: Duration = Duration::from_secs(15);

/// The queue, which all tasks of the bot share.
#[derive(Debug)]
pub(super) struct WorkQueue {
    state: Mutex<State>,
    changed: Notify,
    max_delay: Duration,
}

/// A pull request to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) number: u64,
    /// The number of the last delivery for the pull request in the journal; 0 if there is none.
    pub(super) delivery: u64,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<u64, Waiting>,
    /// The last deliveries that arrived while a pull request is looked at; `None` if none did.
    running: BTreeMap<u64, Option<u64>>,
    /// The consecutive failures of pull requests.
    failures: BTreeMap<u64, u32>,
    is_closed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    delivery: u64,
    /// When the pull request may be looked at. Earlier ones come first.
    due: Instant,
}

impl WorkQueue {
    /// Creates an empty queue. After a failure, a pull request waits at most `max_delay`.
    pub(super) fn new(max_delay: Duration) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), max_delay }
    }

    /// Adds a pull request; returns false if the queue is full.
    pub(super) fn add(&self, number: u64, delivery: u64) -> bool {
        let mut state = self.state();
        if let Some(again) = state.running.get_mut(&number) {
            *again = (*again).max(Some(delivery));
            return true;
        }
        let is_full = state.waiting.len() >= MAX_WAITING;
        if is_full && !state.waiting.contains_key(&number) {
            return false;
        }
        state.wait(number, delivery, Instant::now());
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Waits for the next pull request; `None` after [`Self::close`].
    pub(super) async fn next(&self) -> Option<Job> {
        loop {
            let changed = self.changed.notified();
            let first_due = {
                let mut state = self.state();
                if state.is_closed {
                    return None;
                }
                let first = state.waiting.iter().min_by_key(|(_, waiting)| waiting.due);
                match first.map(|(&number, &waiting)| (number, waiting)) {
                    Some((number, Waiting { delivery, due })) if due <= Instant::now() => {
                        state.waiting.remove(&number);
                        state.running.insert(number, None);
                        drop(state);
                        // The next worker looks for more.
                        self.changed.notify_one();
                        return Some(Job { number, delivery });
                    }
                    first => first.map(|(_, waiting)| waiting.due),
                }
            };
            match first_due {
                Some(due) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// Ends the work for a pull request. After a failure, it waits again.
    pub(super) fn finish(&self, job: Job, is_success: bool) {
        let mut state = self.state();
        let again = state.running.remove(&job.number).flatten();
        if is_success {
            state.failures.remove(&job.number);
        } else {
            let failures = state.failures.entry(job.number).or_default();
            let delay = FIRST_DELAY * 2_u32.saturating_pow((*failures).min(16));
            *failures += 1;
            let due = Instant::now() + delay.min(self.max_delay);
            state.wait(job.number, job.delivery, due);
        }
        if let Some(delivery) = again {
            state.wait(job.number, delivery, Instant::now());
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Gives no more pull requests to workers.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// The numbers of waiting and of running pull requests.
    pub(super) fn lengths(&self) -> (usize, usize) {
        let state = self.state();
        (state.waiting.len(), state.running.len())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Makes a pull request wait, or one that waits already for a later time come earlier.
    fn wait(&mut self, number: u64, delivery: u64, due: Instant) {
        let waiting = self.waiting.entry(number).or_insert(Waiting { delivery, due });
        waiting.delivery = waiting.delivery.max(delivery);
        waiting.due = waiting.due.min(due);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> WorkQueue {
        WorkQueue::new(Duration::from_mins(5))
    }

    async fn is_idle(queue: &WorkQueue) -> bool {
        tokio::time::timeout(Duration::from_millis(1), queue.next()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn queue_coalesces_deliveries() {
        let queue = queue();
        for delivery in 1..=1000 {
            assert!(queue.add(delivery % 3, delivery));
        }
        assert_eq!(queue.lengths(), (3, 0));
        for expected in [(0, 999), (1, 1000), (2, 998)] {
            let job = queue.next().await.unwrap();
            assert_eq!((job.number, job.delivery), expected);
        }
        assert!(is_idle(&queue).await);
    }

    #[tokio::test(start_paused = true)]
    async fn queue_has_one_worker_per_number() {
        let queue = queue();
        queue.add(7, 1);
        let job = queue.next().await.unwrap();
        queue.add(7, 2);
        queue.add(7, 3);
        assert!(is_idle(&queue).await);
        queue.finish(job, true);
        let again = queue.next().await.unwrap();
        assert_eq!(again, Job { number: 7, delivery: 3 });
        queue.finish(again, true);
        assert!(is_idle(&queue).await);
    }

    #[tokio::test(start_paused = true)]
    async fn queue_failure_waits_longer_each_time() {
        let queue = queue();
        queue.add(7, 1);
        let mut waited = Vec::new();
        for _ in 0..7 {
            let begun = Instant::now();
            let job = queue.next().await.unwrap();
            waited.push(begun.elapsed().as_secs());
            queue.finish(job, false);
        }
        assert_eq!(waited, [0, 15, 30, 60, 120, 240, 300]);
        // A delivery is looked at immediately.
        queue.add(7, 9);
        let begun = Instant::now();
        let job = queue.next().await.unwrap();
        assert_eq!((job.delivery, begun.elapsed()), (9, Duration::ZERO));
        queue.finish(job, true);
        assert!(is_idle(&queue).await);
    }

    #[tokio::test(start_paused = true)]
    async fn queue_full_rejects_new_numbers() {
        let queue = queue();
        for number in 0..MAX_WAITING as u64 {
            assert!(queue.add(number, 1));
        }
        assert!(!queue.add(MAX_WAITING as u64, 1));
        assert!(queue.add(0, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn queue_closed_ends_workers() {
        let queue = queue();
        queue.add(7, 1);
        queue.close();
        assert_eq!(queue.next().await, None);
    }
}
