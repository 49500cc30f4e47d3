//! Shares the result of one operation among callers that need it at the same time.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};

/// Operations in progress, by their keys.
pub(super) struct SingleFlight<K, T: Clone>(Mutex<HashMap<K, Shared<BoxFuture<'static, T>>>>);

impl<K, T: Clone> Default for SingleFlight<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, T: Clone> fmt::Debug for SingleFlight<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SingleFlight")
    }
}

impl<K: Eq + Hash + Clone, T: Clone> SingleFlight<K, T> {
    /// Waits for the operation with this key, or starts it.
    ///
    /// # Cancellation
    /// If a caller is cancelled, the others continue the operation.
    pub(super) async fn run(&self, key: K, start: impl FnOnce() -> BoxFuture<'static, T>) -> T {
        let operation = self.lock().entry(key.clone()).or_insert_with(|| start().shared()).clone();
        let result = operation.clone().await;
        let mut operations = self.lock();
        if operations.get(&key).is_some_and(|current| current.ptr_eq(&operation)) {
            operations.remove(&key);
        }
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, Shared<BoxFuture<'static, T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn concurrent_callers_share_one_operation() {
        let (flight, count) = (SingleFlight::default(), Arc::new(AtomicU32::new(0)));
        let start = || {
            let count = Arc::clone(&count);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                count.fetch_add(1, Ordering::Relaxed)
            }
            .boxed()
        };
        // The first caller is cancelled.
        let cancelled = tokio::time::timeout(Duration::from_millis(1), flight.run("a", start));
        assert!(cancelled.await.is_err());
        let (one, two) = tokio::join!(flight.run("a", start), flight.run("a", start));
        assert_eq!((one, two), (0, 0));
        assert_eq!(flight.run("a", start).await, 1, "a later caller starts again");
    }
}
