//! A memory budget for all manifests in transit.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;

/// Bytes per semaphore permit.
const UNIT: usize = 1024;

/// How long a request waits for memory.
const WAIT: Duration = Duration::from_secs(30);

/// Bounds the memory of manifests in transit, independently of the number of connections.
#[derive(Debug, Clone)]
pub(super) struct MemoryBudget {
    free: Arc<Semaphore>,
    units: usize,
}

/// The bytes of each manifest that need no share. Manifests of the usual size are thus accepted
/// while larger ones wait. The number of connections limits the sum of these bytes.
const FREE_BYTES: usize = 16 << 10;

/// A share of the budget, returned on drop.
#[derive(Debug)]
pub(super) struct Share(OwnedSemaphorePermit);

/// A share that grows with a buffer.
#[derive(Debug)]
pub(super) struct GrowingShare {
    budget: MemoryBudget,
    share: Option<Share>,
}

impl MemoryBudget {
    pub(super) fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(units)), units }
    }

    /// Returns an empty share.
    pub(super) fn growing(&self) -> GrowingShare {
        GrowingShare { budget: self.clone(), share: None }
    }

    /// Waits for a share. A share that would exceed the budget gets the whole budget.
    ///
    /// # Errors
    /// 503 if no memory becomes free within 30 seconds.
    pub(super) async fn acquire(&self, bytes: usize) -> Result<Share, ApiError> {
        let units = u32::try_from(bytes.div_ceil(UNIT).min(self.units)).unwrap_or(u32::MAX);
        let acquiring = Arc::clone(&self.free).acquire_many_owned(units);
        match tokio::time::timeout(WAIT, acquiring).await {
            Ok(Ok(permit)) => Ok(Share(permit)),
            _ => {
                let message = "the server is busy with too many manifests";
                Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "TOOMANYREQUESTS", message))
            }
        }
    }
}

impl GrowingShare {
    /// Waits until the share covers `bytes`, or the whole budget.
    ///
    /// # Errors
    /// As [`MemoryBudget::acquire`].
    pub(super) async fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        let bytes = bytes.min(self.budget.units * UNIT);
        let held = self.share.as_ref().map_or(0, |share| share.0.num_permits() * UNIT);
        if bytes <= held.max(FREE_BYTES) {
            return Ok(());
        }
        let more = self.budget.acquire(bytes - held).await?;
        match &mut self.share {
            Some(share) => share.0.merge(more.0),
            None => self.share = Some(more),
        }
        Ok(())
    }
}

impl Share {
    /// Reduces the share to `bytes`.
    pub(super) fn shrink(mut self, bytes: usize) -> Self {
        let spare = self.0.num_permits().saturating_sub(bytes.div_ceil(UNIT));
        drop(self.0.split(spare));
        self
    }

    /// Attaches the share to bytes, which return it when they are dropped.
    pub(super) fn hold(self, bytes: Bytes) -> Bytes {
        struct Held(Bytes, #[expect(dead_code, reason = "given back with the bytes")] Share);
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        Bytes::from_owner(Held(bytes, self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn acquire_waits_for_shares_given_back() {
        let budget = MemoryBudget::new(10 * UNIT);
        let first = budget.acquire(8 * UNIT).await.unwrap();
        assert!(budget.acquire(4 * UNIT).await.is_err(), "more than is free");
        let first = first.shrink(5 * UNIT);
        let second = budget.acquire(4 * UNIT).await.unwrap();
        let sent = first.hold(Bytes::from_static(b"{}"));
        drop(second);
        assert!(budget.acquire(usize::MAX).await.is_err(), "the bytes are still in memory");
        drop(sent);
        assert!(budget.acquire(usize::MAX).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn growing_share_begins_free() {
        let budget = MemoryBudget::new(100 * UNIT);
        let (mut small, mut large) = (budget.growing(), budget.growing());
        large.grow(60 * UNIT).await.unwrap();
        large.grow(90 * UNIT).await.unwrap();
        small.grow(FREE_BYTES).await.unwrap();
        assert!(small.grow(20 * UNIT).await.is_err());
        drop(large);
        small.grow(usize::MAX).await.unwrap();
        assert!(budget.acquire(1).await.is_err());
    }
}
