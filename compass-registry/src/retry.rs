//! Trying again what failed for a reason that may pass.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::Error;

/// How failures that may pass are dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often something is tried before its error is final; at least once.
    pub max_attempts: u32,
    /// The pause before the second try; it is doubled each time, and shortened by up to a half by
    /// chance, so that many workers do not come back at once.
    pub initial_backoff: Duration,
    /// The longest pause that a registry may ask for with `Retry-After`. Where it asks for more,
    /// its refusal is final.
    pub max_retry_after: Duration,
    /// How long a peer may be silent before the connection counts as broken.
    pub idle_timeout: Duration,
    /// How long a registry may take to answer after the last byte of a blob: it may copy it to an
    /// object storage first.
    pub commit_timeout: Duration,
    /// How long a host that refuses connections is asked again: it may be restarting. All requests
    /// to it wait together.
    pub connect_retry: Duration,
    /// The least average speed of a transfer in bytes a second, over each [`Self::speed_window`]; 0
    /// for none.
    pub min_speed: u64,
    /// The time over which the speed of a transfer is measured, and that a registry may ask to
    /// pause in a row.
    pub speed_window: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            initial_backoff: Duration::from_millis(200),
            max_retry_after: Duration::from_mins(2),
            idle_timeout: Duration::from_mins(1),
            commit_timeout: Duration::from_mins(15),
            connect_retry: Duration::from_secs(30),
            min_speed: 1024,
            speed_window: Duration::from_mins(5),
        }
    }
}

tokio::task_local! {
    static RETRIES: Arc<AtomicU32>;
}

/// Longer than anyone waits, and short enough to be added to any moment.
const MAX_DURATION: Duration = Duration::from_hours(365 * 24);

impl RetryPolicy {
    /// The same, with nothing that lasts longer than a year.
    #[cfg(feature = "client")]
    pub(crate) fn clamped(self) -> Self {
        Self {
            max_attempts: self.max_attempts,
            initial_backoff: self.initial_backoff.min(MAX_DURATION),
            max_retry_after: self.max_retry_after.min(MAX_DURATION),
            idle_timeout: self.idle_timeout.min(MAX_DURATION),
            commit_timeout: self.commit_timeout.min(MAX_DURATION),
            connect_retry: self.connect_retry.min(MAX_DURATION),
            min_speed: self.min_speed,
            speed_window: self.speed_window.min(MAX_DURATION),
        }
    }

    /// Whether to try again after this many failures, the last of which was this one.
    pub(crate) fn should_retry(&self, error: &Error, failures: u32) -> bool {
        error.is_transient() && self.within_limits(error, failures)
    }

    /// Whether what an error asks for can be waited for, after this many failures.
    pub(crate) fn within_limits(&self, error: &Error, failures: u32) -> bool {
        let is_within = error.retry_after().is_none_or(|pause| pause <= self.max_retry_after);
        is_within && failures < self.max_attempts
    }

    /// Waits after a failure, as long as it asks for, or else longer each time.
    pub(crate) async fn back_off(&self, error: &Error, failures: u32) {
        count_retry();
        tracing::debug!(error = error as &dyn std::error::Error, failures, "try again");
        let longest = self.initial_backoff.saturating_mul(1 << failures.saturating_sub(1).min(6));
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX).max(2);
        let chance = RandomState::new().build_hasher().finish() % (micros / 2);
        let own = Duration::from_micros(micros - chance);
        tokio::time::sleep(error.retry_after().map_or(own, |asked| asked.max(own))).await;
    }

    /// Whether a server that answers with this HTTP status may answer otherwise the next moment.
    pub fn is_transient_status(status: u16) -> bool {
        // 501 and 505 say what a server cannot do, and 507 that its disk is full.
        matches!(status, 408 | 429 | 500 | 502..=504 | 520..=599)
    }

    /// Runs an operation again while it fails for a reason that may pass, with a pause before each
    /// try but the first.
    ///
    /// # Errors
    /// That of the last try.
    pub async fn run<T, F>(&self, run: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.run_if(Error::is_transient, run).await
    }

    /// As [`RetryPolicy::run`], for errors that this function says may pass.
    ///
    /// # Errors
    /// That of the last try.
    pub(crate) async fn run_if<T, F>(
        &self,
        passes: impl Fn(&Error) -> bool,
        mut run: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut failures = 0;
        loop {
            match run().await {
                Err(error) if passes(&error) && self.within_limits(&error, failures + 1) => {
                    failures += 1;
                    self.back_off(&error, failures).await;
                }
                result => return result,
            }
        }
    }
}

/// Counts that something is tried again.
pub(crate) fn count_retry() {
    let _ = RETRIES.try_with(|count| count.fetch_add(1, Ordering::Relaxed));
}

/// Counts how often something was tried again while a future ran.
pub async fn with_retry_counter<T>(future: impl Future<Output = T>) -> (T, u32) {
    let count = Arc::new(AtomicU32::new(0));
    let result = RETRIES.scope(Arc::clone(&count), future).await;
    (result, count.load(Ordering::Relaxed))
}

/// The count of a task, for work that other tasks do for it: those of the HTTP library as well, which
/// poll the body that they send.
#[derive(Debug, Clone)]
pub(crate) struct RetryCounter(Option<Arc<AtomicU32>>);

impl RetryCounter {
    /// That of the current task, if it counts.
    pub(crate) fn current() -> Self {
        Self(RETRIES.try_with(Arc::clone).ok())
    }

    /// Counts while a future runs, wherever that is.
    pub(crate) async fn scope<T>(self, future: impl Future<Output = T>) -> T {
        match self.0 {
            Some(count) => RETRIES.scope(count, future).await,
            None => future.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, retry_after: Option<u64>) -> Error {
        Error::Status {
            host: "a.b".to_owned(),
            request: "GET /v2/".to_owned(),
            status,
            message: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn what_cannot_pass_and_what_takes_too_long_is_final() {
        let policy = RetryPolicy::default();
        assert!(
            policy.should_retry(&refused(503, None), 1)
                && policy.should_retry(&refused(429, Some(60)), 4)
        );
        assert!(!policy.should_retry(&refused(503, None), 5), "tried often enough");
        assert!(!policy.should_retry(&refused(404, None), 1), "not there");
        assert!(!policy.should_retry(&refused(429, Some(3600)), 1), "too long");
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_follow_what_the_registry_asks_for() {
        let policy = RetryPolicy::default();
        let waited = async |error: Error, failures| {
            let before = tokio::time::Instant::now();
            policy.back_off(&error, failures).await;
            before.elapsed().as_millis()
        };
        for (failures, longest) in [(1, 201), (2, 401), (3, 801), (4, 1601)] {
            let millis = waited(refused(503, None), failures).await;
            assert!(millis >= longest / 2 && millis <= longest + 1, "{failures}: {millis}");
        }
        assert!(waited(refused(429, Some(7)), 1).await >= 7000);
    }

    #[tokio::test(start_paused = true)]
    async fn repetitions_are_counted_also_in_spawned_tasks() {
        let fails = || async {
            let policy = RetryPolicy::default();
            policy.run(|| async { Err::<(), _>(refused(503, None)) }).await
        };
        let ((), count) = with_retry_counter(async {
            fails().await.unwrap_err();
            let fails = async move { fails().await.unwrap_err() };
            tokio::spawn(RetryCounter::current().scope(fails)).await.unwrap();
        })
        .await;
        assert_eq!(count, 8);
    }
}
