//! Hosts that refuse connections: a registry that restarts is waited for, all requests together as
//! long as one would be.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::connection::causes;
use crate::{Error, retry};

/// The first pause; each next one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);

const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A host still refuses connections after the whole waiting time.
#[derive(Debug, thiserror::Error)]
#[error("connection refused, for {} s by now", .0.as_secs())]
pub(crate) struct RefusedConnections(Duration);

/// Since when hosts refuse connections.
#[derive(Debug)]
pub(crate) struct Refusals {
    /// How long a host is waited for.
    wait: Duration,
    since: Mutex<HashMap<String, Instant>>,
}

impl Refusals {
    pub(crate) fn new(wait: Duration) -> Self {
        Self { wait, since: Mutex::default() }
    }

    /// Runs a request to a host again while the host refuses connections.
    ///
    /// # Errors
    /// That of the request; if the host was waited for in vain, another try is of no use.
    pub(crate) async fn wait_for<T, F>(
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
                Err(error) if is_refused(&error) => error,
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
                return Err(in_vain(error, since.elapsed()));
            }
            tracing::info!(host, "it refuses connections, and is asked again");
            retry::count();
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn since(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_vain(error: Error, waited: Duration) -> Error {
    match error {
        Error::Unreachable { host, request, .. } => {
            Error::Unreachable { host, request, source: Box::new(RefusedConnections(waited)) }
        }
        other => other,
    }
}

/// Whether a host refused the connection.
fn is_refused(error: &Error) -> bool {
    let Error::Unreachable { source, .. } = error else { return false };
    let mut io = causes(&**source).filter_map(|cause| cause.downcast_ref::<io::Error>());
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

    /// Requests that are refused for some seconds; how long it takes, and whether one succeeds.
    async fn after(refusals: &Refusals, seconds: u64) -> (u64, Result<(), Error>) {
        let began = Instant::now();
        let asked = || async {
            if began.elapsed() < Duration::from_secs(seconds) { Err(refused()) } else { Ok(()) }
        };
        let result = refusals.wait_for("a.b", asked).await;
        (began.elapsed().as_secs(), result)
    }

    #[tokio::test(start_paused = true)]
    async fn refused_connection_is_tried_again() {
        let refusals = Refusals::new(Duration::from_secs(30));
        let (took, result) = after(&refusals, 10).await;
        assert!(result.is_ok() && (10..13).contains(&took), "{took}");
        let (took, result) = after(&refusals, 1000).await;
        assert!(!result.unwrap_err().is_transient() && took == 30, "{took}");
        // Later requests fail at once.
        let (took, result) = after(&refusals, 1000).await;
        assert!(result.is_err() && took == 0, "{took}");
        assert!(after(&refusals, 0).await.1.is_ok());
        let (took, _) = after(&refusals, 1000).await;
        assert_eq!(took, 30, "it answered in between");
    }

    #[tokio::test(start_paused = true)]
    async fn refused_connection_without_wait_is_final() {
        let asked = Cell::new(0);
        let refusals = Refusals::new(Duration::ZERO);
        let request = || {
            asked.set(asked.get() + 1);
            std::future::ready(Err::<(), _>(refused()))
        };
        let error = refusals.wait_for("a.b", request).await.unwrap_err();
        assert!(error.is_transient() && asked.get() == 1, "{error}");
    }
}
