//! Retries connections that a host refuses, as it may be restarting. All requests to a host share
//! the time limit.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::connection::error_chain;
use crate::{Error, retry};

/// The first delay. It doubles with each attempt, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);

const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A host still refuses connections after the time limit.
#[derive(Debug, thiserror::Error)]
#[error("connection refused for {} s", .0.as_secs())]
pub(crate) struct ConnectRefused(Duration);

/// Records when hosts started to refuse connections.
#[derive(Debug)]
pub(crate) struct ConnectRetry {
    /// The time limit.
    wait: Duration,
    since: Mutex<HashMap<String, Instant>>,
}

impl ConnectRetry {
    pub(crate) fn new(wait: Duration) -> Self {
        Self { wait, since: Mutex::default() }
    }

    /// Runs a request, and retries it while the host refuses connections.
    ///
    /// # Errors
    /// The error of the request. After the time limit, the error is not transient.
    pub(crate) async fn run<T, F>(
        &self,
        host: &str,
        mut request: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match request().await {
                Err(error) if is_connection_refused(&error) => error,
                answered => {
                    self.since().remove(host);
                    return answered;
                }
            };
            if self.wait.is_zero() {
                return Err(error);
            }
            let now = Instant::now();
            let since = *self.since().entry(host.to_owned()).or_insert(now);
            let left = self.wait.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Err(gave_up(error, since.elapsed()));
            }
            tracing::info!(host, "the host refuses connections, retrying");
            retry::count_retry();
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn since(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gave_up(error: Error, waited: Duration) -> Error {
    match error {
        Error::Unreachable { host, request, .. } => {
            Error::Unreachable { host, request, source: Box::new(ConnectRefused(waited)) }
        }
        other => other,
    }
}

/// Whether the host refused the connection.
fn is_connection_refused(error: &Error) -> bool {
    let Error::Unreachable { source, .. } = error else { return false };
    let mut io = error_chain(&**source).filter_map(|cause| cause.downcast_ref::<io::Error>());
    io.any(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn refused() -> Error {
        let source = Box::new(io::Error::from(io::ErrorKind::ConnectionRefused));
        Error::Unreachable { host: "a.b".to_owned(), request: "GET /v2/".to_owned(), source }
    }

    /// Runs a request that is refused for some seconds; returns the elapsed seconds and the result.
    async fn after(connect_retry: &ConnectRetry, seconds: u64) -> (u64, Result<(), Error>) {
        let began = Instant::now();
        let asked = || async {
            if began.elapsed() < Duration::from_secs(seconds) { Err(refused()) } else { Ok(()) }
        };
        let result = connect_retry.run("a.b", asked).await;
        (began.elapsed().as_secs(), result)
    }

    #[tokio::test(start_paused = true)]
    async fn refused_connection_is_retried() {
        let connect_retry = ConnectRetry::new(Duration::from_secs(30));
        let (took, result) = after(&connect_retry, 10).await;
        assert!(result.is_ok() && (10..13).contains(&took), "{took}");
        let (took, result) = after(&connect_retry, 1000).await;
        assert!(!result.unwrap_err().is_transient() && took == 30, "{took}");
        // Later requests fail at once.
        let (took, result) = after(&connect_retry, 1000).await;
        assert!(result.is_err() && took == 0, "{took}");
        assert!(after(&connect_retry, 0).await.1.is_ok());
        let (took, _) = after(&connect_retry, 1000).await;
        assert_eq!(took, 30, "it answered in the meantime");
    }

    #[tokio::test(start_paused = true)]
    async fn refused_connection_without_wait_is_final() {
        let asked = Cell::new(0);
        let connect_retry = ConnectRetry::new(Duration::ZERO);
        let request = || {
            asked.set(asked.get() + 1);
            std::future::ready(Err::<(), _>(refused()))
        };
        let error = connect_retry.run("a.b", request).await.unwrap_err();
        assert!(error.is_transient() && asked.get() == 1, "{error}");
    }
}
