//! Retries of transient failures.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::Error;

/// Limits of retries and timeouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The maximum number of attempts; at least one is made. [`Self::connect_retry`] limits those
    /// whose connection is refused.
    pub max_attempts: u32,
    /// The delay before the second attempt. It doubles with each attempt, and is reduced by up to
    /// half at random, so that many clients do not retry at once.
    pub initial_backoff: Duration,
    /// The maximum `Retry-After` of a registry. If it asks for more, the request fails.
    pub max_retry_after: Duration,
    /// How long a connection may be idle before it counts as broken.
    pub idle_timeout: Duration,
    /// How long a registry may take to respond after the last byte of a blob. It may copy the blob
    /// to an object storage first.
    pub commit_timeout: Duration,
    /// How long to retry connections that a host refuses, as it may be restarting. All requests to
    /// the host share the limit.
    pub connect_retry: Duration,
    /// The minimum average speed of a transfer in bytes per second. It is checked in each
    /// [`Self::speed_window`]; 0 disables the check.
    pub min_speed: u64,
    /// The time over which the speed is measured. This is also the limit on the sum of consecutive
    /// pauses that a registry asks for.
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

setters!(RetryPolicy {
    max_attempts: u32,
    initial_backoff: Duration,
    max_retry_after: Duration,
    idle_timeout: Duration,
    commit_timeout: Duration,
    connect_retry: Duration,
    min_speed: u64,
    speed_window: Duration,
});

/// An error of an operation that [`RetryPolicy`] may repeat.
pub trait RetryableError: std::error::Error + 'static {
    /// Whether a retry may succeed.
    fn is_transient(&self) -> bool;

    /// The delay that the other side asks for.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

impl RetryableError for Error {
    fn is_transient(&self) -> bool {
        Error::is_transient(self)
    }

    fn retry_after(&self) -> Option<Duration> {
        Error::retry_after(self)
    }
}

tokio::task_local! {
    static RETRIES: Arc<AtomicU32>;
}

/// An upper limit of durations that is safe to add to any point in time.
const MAX_DURATION: Duration = Duration::from_hours(365 * 24);

impl RetryPolicy {
    /// Limits all durations to [`MAX_DURATION`].
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

    /// Whether to retry after the given number of failures, the last of which was `error`.
    pub fn should_retry<E: RetryableError>(&self, error: &E, failures: u32) -> bool {
        error.is_transient() && self.within_limits(error, failures)
    }

    /// Whether another attempt and the delay that `error` asks for are within the limits.
    pub(crate) fn within_limits<E: RetryableError>(&self, error: &E, failures: u32) -> bool {
        let is_within = error.retry_after().is_none_or(|pause| pause <= self.max_retry_after);
        is_within && failures < self.max_attempts
    }

    /// Waits before the next attempt. The delay is the exponential one, or the one that `error`
    /// asks for if that is longer.
    pub async fn back_off<E: RetryableError>(&self, error: &E, failures: u32) {
        count_retry();
        tracing::info!(error = error as &dyn std::error::Error, failures, "retrying");
        let longest = self.initial_backoff.saturating_mul(1 << failures.saturating_sub(1).min(6));
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX).max(2);
        let chance = RandomState::new().build_hasher().finish() % (micros / 2);
        let own = Duration::from_micros(micros - chance);
        tokio::time::sleep(error.retry_after().map_or(own, |asked| asked.max(own))).await;
    }

    /// Whether an HTTP status is transient, so that a retry may succeed.
    pub fn is_transient_status(status: u16) -> bool {
        // 501 and 505 mean that the server does not support the request, and 507 that its disk is
        // full.
        matches!(status, 408 | 429 | 500 | 502..=504 | 520..=599)
    }

    /// Runs an operation, and retries it while it fails with a transient error.
    ///
    /// # Errors
    /// The error of the last attempt.
    pub async fn run<T, E, F>(&self, run: impl FnMut() -> F) -> Result<T, E>
    where
        E: RetryableError,
        F: Future<Output = Result<T, E>>,
    {
        self.run_if(E::is_transient, run).await
    }

    /// Runs an operation, and retries it while `is_retryable` accepts its error.
    ///
    /// # Errors
    /// The error of the last attempt.
    pub async fn run_if<T, E, F>(
        &self,
        is_retryable: impl Fn(&E) -> bool,
        mut run: impl FnMut() -> F,
    ) -> Result<T, E>
    where
        E: RetryableError,
        F: Future<Output = Result<T, E>>,
    {
        let mut failures = 0;
        loop {
            match run().await {
                Err(error) if is_retryable(&error) && self.within_limits(&error, failures + 1) => {
                    failures += 1;
                    self.back_off(&error, failures).await;
                }
                result => return result,
            }
        }
    }
}

/// Counts one retry.
pub(crate) fn count_retry() {
    let _ = RETRIES.try_with(|count| count.fetch_add(1, Ordering::Relaxed));
}

/// Runs a future, and returns how many retries it made.
pub async fn with_retry_counter<T>(future: impl Future<Output = T>) -> (T, u32) {
    let count = Arc::new(AtomicU32::new(0));
    let result = RETRIES.scope(Arc::clone(&count), future).await;
    (result, count.load(Ordering::Relaxed))
}

/// The retry counter of a task, to be shared with other tasks that work for it. These include tasks
/// of the HTTP library that poll request bodies.
#[derive(Debug, Clone)]
pub(crate) struct RetryCounter(Option<Arc<AtomicU32>>);

impl RetryCounter {
    /// Returns the counter of the current task, if it has one.
    pub(crate) fn current() -> Self {
        Self(RETRIES.try_with(Arc::clone).ok())
    }

    /// Runs a future with this counter.
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
    fn should_retry_respects_limits() {
        let policy = RetryPolicy::default();
        assert!(
            policy.should_retry(&refused(503, None), 1)
                && policy.should_retry(&refused(429, Some(60)), 4)
        );
        assert!(!policy.should_retry(&refused(503, None), 5), "attempts exhausted");
        assert!(!policy.should_retry(&refused(404, None), 1), "not transient");
        assert!(!policy.should_retry(&refused(429, Some(3600)), 1), "delay too long");
    }

    #[tokio::test(start_paused = true)]
    async fn back_off_follows_retry_after() {
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
    async fn retry_counter_includes_spawned_tasks() {
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
