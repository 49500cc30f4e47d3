//! Shares the result of one operation among callers that need it at the same time.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::oneshot;

/// Operations in progress, by their keys. Clones share them.
pub(super) struct SingleFlight<K, T: Clone>(Arc<Mutex<Operations<K, T>>>);

type Operations<K, T> = HashMap<K, Shared<oneshot::Receiver<T>>>;

impl<K, T: Clone> Clone for SingleFlight<K, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, T: Clone> Default for SingleFlight<K, T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, T: Clone> fmt::Debug for SingleFlight<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SingleFlight")
    }
}

impl<K, T> SingleFlight<K, T>
where
    K: Eq + Hash + Clone + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// Waits for the operation with this key, or starts it. Returns `None` if it was aborted.
    ///
    /// # Cancellation
    /// The operation runs in a task of its own and ends, even if all callers are cancelled.
    pub(super) async fn run(
        &self,
        key: K,
        start: impl FnOnce() -> BoxFuture<'static, T>,
    ) -> Option<T> {
        let result = self.operation(key.clone(), start).await.ok();
        if result.is_none() {
            self.lock().remove(&key);
        }
        result
    }

    fn operation(
        &self,
        key: K,
        start: impl FnOnce() -> BoxFuture<'static, T>,
    ) -> Shared<oneshot::Receiver<T>> {
        let mut operations = self.lock();
        if let Some(running) = operations.get(&key) {
            return running.clone();
        }
        let (sender, receiver) = oneshot::channel();
        let (flight, running, own) = (self.clone(), start(), key.clone());
        tokio::spawn(async move {
            let result = running.await;
            flight.lock().remove(&own);
            // No caller may be left.
            let _ = sender.send(result);
        });
        let receiver = receiver.shared();
        operations.insert(key, receiver.clone());
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, Operations<K, T>> {
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
        // The operation continues after its first caller is cancelled.
        let cancelled = tokio::time::timeout(Duration::from_millis(1), flight.run("a", start));
        assert!(cancelled.await.is_err());
        let (one, two) = tokio::join!(flight.run("a", start), flight.run("a", start));
        assert_eq!((one, two), (Some(0), Some(0)));
        assert!(flight.lock().is_empty());
        assert_eq!(flight.run("a", start).await, Some(1), "a later caller starts again");
    }
}
