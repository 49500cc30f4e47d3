//! The pull requests that wait for a worker, each at most once in each lane.
//!
//! A pull request has at most one worker. What arrives while it has one makes it wait again. The work of
//! the teams, which can take hours, has a lane of its own, so that no pull request waits for it to be
//! looked at.

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
    /// One for each lane.
    changed: [Notify; 2],
    max_delay: Duration,
}

/// What a worker does with a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Looks at it.
    Look,
    /// Does the work of the teams.
    Work,
}

/// A pull request for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) lane: Lane,
    pub(super) number: u64,
    /// The number of the last delivery for the pull request in the journal; 0 if there is none.
    pub(super) delivery: u64,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<(Lane, u64), Waiting>,
    /// The last deliveries that arrived while a pull request has a worker; `None` if none did.
    running: BTreeMap<u64, Option<u64>>,
    /// The consecutive failures of pull requests.
    failures: BTreeMap<(Lane, u64), u32>,
    is_closed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    delivery: u64,
    /// When a worker may take the pull request. Earlier ones come first.
    due: Instant,
}

impl WorkQueue {
    /// Creates an empty queue. After a failure, a pull request waits at most `max_delay`.
    pub(super) fn new(max_delay: Duration) -> Self {
        Self { state: Mutex::default(), changed: Default::default(), max_delay }
    }

    /// Adds a pull request to look at; returns false if the queue is full.
    pub(super) fn add(&self, number: u64, delivery: u64) -> bool {
        let mut state = self.state();
        if let Some(again) = state.running.get_mut(&number) {
            *again = (*again).max(Some(delivery));
            return true;
        }
        let is_full = state.waiting.len() >= MAX_WAITING;
        if is_full && !state.waiting.contains_key(&(Lane::Look, number)) {
            return false;
        }
        state.wait(Lane::Look, number, delivery, Instant::now());
        drop(state);
        self.notify(Lane::Look);
        true
    }

    /// Adds a pull request for the work of the teams. One that waits after a failure continues to wait.
    pub(super) fn add_work(&self, number: u64) {
        let waiting = Waiting { delivery: 0, due: Instant::now() };
        self.state().waiting.entry((Lane::Work, number)).or_insert(waiting);
        self.notify(Lane::Work);
    }

    /// Waits for the next pull request of a lane; `None` after [`Self::close`].
    pub(super) async fn next(&self, lane: Lane) -> Option<Job> {
        loop {
            let changed = self.changed[lane as usize].notified();
            let first_due = {
                let mut state = self.state();
                if state.is_closed {
                    return None;
                }
                match state.first(lane) {
                    Some((number, Waiting { delivery, due })) if due <= Instant::now() => {
                        state.waiting.remove(&(lane, number));
                        state.running.insert(number, None);
                        drop(state);
                        // The next worker looks for more.
                        self.notify(lane);
                        return Some(Job { lane, number, delivery });
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
        let Job { lane, number, delivery } = job;
        let mut state = self.state();
        let again = state.running.remove(&number).flatten();
        if is_success {
            state.failures.remove(&(lane, number));
        } else {
            let failures = state.failures.entry((lane, number)).or_default();
            let delay = FIRST_DELAY * 2_u32.saturating_pow((*failures).min(16));
            *failures += 1;
            let due = Instant::now() + delay.min(self.max_delay);
            state.wait(lane, number, delivery, due);
        }
        if let Some(delivery) = again {
            state.wait(Lane::Look, number, delivery, Instant::now());
        }
        drop(state);
        // The pull request can wait in both lanes.
        self.notify(Lane::Look);
        self.notify(Lane::Work);
    }

    /// Gives no more pull requests to workers.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        for changed in &self.changed {
            changed.notify_waiters();
        }
    }

    /// The numbers of waiting and of running pull requests.
    pub(super) fn lengths(&self) -> (usize, usize) {
        let state = self.state();
        (state.waiting.len(), state.running.len())
    }

    fn notify(&self, lane: Lane) {
        self.changed[lane as usize].notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The pull request of a lane that may have a worker first.
    fn first(&self, lane: Lane) -> Option<(u64, Waiting)> {
        let waiting = self.waiting.iter().map(|(&(lane, number), &one)| (lane, number, one));
        let of_lane =
            waiting.filter(|(one, number, _)| *one == lane && !self.running.contains_key(number));
        of_lane.min_by_key(|(.., one)| one.due).map(|(_, number, one)| (number, one))
    }

    /// Makes a pull request wait, or one that waits already for a later time come earlier.
    fn wait(&mut self, lane: Lane, number: u64, delivery: u64, due: Instant) {
        let waiting = self.waiting.entry((lane, number)).or_insert(Waiting { delivery, due });
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
        tokio::time::timeout(Duration::from_millis(1), queue.next(Lane::Look)).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn queue_coalesces_deliveries() {
        let queue = queue();
        for delivery in 1..=1000 {
            assert!(queue.add(delivery % 3, delivery));
        }
        assert_eq!(queue.lengths(), (3, 0));
        for expected in [(0, 999), (1, 1000), (2, 998)] {
            let job = queue.next(Lane::Look).await.unwrap();
            assert_eq!((job.number, job.delivery), expected);
        }
        assert!(is_idle(&queue).await);
    }

    #[tokio::test(start_paused = true)]
    async fn queue_has_one_worker_per_number() {
        let queue = queue();
        queue.add(7, 1);
        let job = queue.next(Lane::Look).await.unwrap();
        queue.add(7, 2);
        queue.add(7, 3);
        assert!(is_idle(&queue).await);
        queue.finish(job, true);
        let again = queue.next(Lane::Look).await.unwrap();
        assert_eq!(again, Job { lane: Lane::Look, number: 7, delivery: 3 });
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
            let job = queue.next(Lane::Look).await.unwrap();
            waited.push(begun.elapsed().as_secs());
            queue.finish(job, false);
        }
        assert_eq!(waited, [0, 15, 30, 60, 120, 240, 300]);
        // A delivery is looked at immediately.
        queue.add(7, 9);
        let begun = Instant::now();
        let job = queue.next(Lane::Look).await.unwrap();
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
        assert_eq!(queue.next(Lane::Look).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn queue_work_delays_no_looks() {
        let queue = queue();
        queue.add_work(7);
        let work = queue.next(Lane::Work).await.unwrap();
        assert_eq!(work, Job { lane: Lane::Work, number: 7, delivery: 0 });
        queue.add(8, 1);
        assert_eq!(queue.next(Lane::Look).await.unwrap().number, 8);
        // A pull request has one worker in both lanes.
        queue.add(7, 2);
        queue.add_work(7);
        assert!(is_idle(&queue).await);
        queue.finish(work, true);
        let look = queue.next(Lane::Look).await.unwrap();
        assert_eq!((look.number, look.delivery), (7, 2));
        let second = tokio::time::timeout(Duration::from_millis(1), queue.next(Lane::Work));
        assert!(second.await.is_err());
        queue.finish(look, true);
        assert_eq!(queue.next(Lane::Work).await.unwrap().number, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn queue_failed_work_keeps_delay() {
        let queue = queue();
        queue.add_work(7);
        let work = queue.next(Lane::Work).await.unwrap();
        queue.finish(work, false);
        queue.add_work(7);
        let begun = Instant::now();
        assert_eq!(queue.next(Lane::Work).await.unwrap(), work);
        assert_eq!(begun.elapsed(), FIRST_DELAY);
    }
}
