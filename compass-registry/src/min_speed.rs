//! The minimum speed of transfers. A transfer fails if the peer sends too few bytes, or asks for
//! one pause after another.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// The reason for ending a transfer whose peer still responds.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TooSlow {
    /// Too few bytes were transferred.
    #[error("{bytes} bytes in {} s, below the minimum of {min_speed} bytes per second", .time.as_secs())]
    Bytes { bytes: u64, time: Duration, min_speed: u64 },
    /// The pauses that the peer asked for exceed the limit.
    #[error("the registry has asked for pauses of {} s in total", .0.as_secs())]
    Pauses(Duration),
}

/// Measures the speed of one transfer. Only the time spent waiting for the peer counts.
#[derive(Debug, Clone)]
pub(crate) struct SpeedGuard {
    min_speed: u64,
    window: Duration,
    /// The waiting time in the current window.
    waited: Duration,
    /// The transferred bytes at the start of the current window.
    bytes_before: u64,
}

impl SpeedGuard {
    /// Requires `min_speed` bytes per second on average over each `window`. 0 disables the check.
    pub(crate) fn new(min_speed: u64, window: Duration) -> Self {
        Self { min_speed, window, waited: Duration::ZERO, bytes_before: 0 }
    }

    /// Waits for a step of the transfer. `bytes` returns the bytes transferred so far.
    pub(crate) async fn watch<T>(
        &mut self,
        bytes: impl Fn() -> u64,
        step: impl Future<Output = T>,
    ) -> Result<T, TooSlow> {
        if self.min_speed == 0 || self.window.is_zero() {
            return Ok(step.await);
        }
        let mut step = pin!(step);
        loop {
            let began = Instant::now();
            let left = self.window.saturating_sub(self.waited);
            let stepped = timeout(left, &mut step).await;
            self.record(began.elapsed(), bytes())?;
            if let Ok(stepped) = stepped {
                return Ok(stepped);
            }
        }
    }

    /// Returns the waiting time after which the current window ends.
    #[cfg(feature = "server")]
    pub(crate) fn remaining(&self) -> Duration {
        self.window.saturating_sub(self.waited)
    }

    /// Adds waiting time, and fails if the speed in a completed window was too low.
    pub(crate) fn record(&mut self, waited: Duration, bytes: u64) -> Result<(), TooSlow> {
        self.waited += waited;
        if self.waited < self.window || self.window.is_zero() {
            return Ok(());
        }
        let passed = bytes.saturating_sub(self.bytes_before);
        let time = std::mem::take(&mut self.waited);
        self.bytes_before = bytes;
        if u128::from(passed) * 1000 < u128::from(self.min_speed) * time.as_millis() {
            return Err(TooSlow::Bytes { bytes: passed, time, min_speed: self.min_speed });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn guard() -> SpeedGuard {
        SpeedGuard::new(100, Duration::from_secs(10))
    }

    /// Runs steps that each transfer `bytes` after `seconds`. Returns the number of the step that
    /// failed.
    async fn steps(guard: &mut SpeedGuard, seconds: u64, bytes: u64) -> Option<u64> {
        let passed = AtomicU64::new(0);
        for number in 0..50 {
            let step = async {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                passed.fetch_add(bytes, Ordering::Relaxed);
            };
            if guard.watch(|| passed.load(Ordering::Relaxed), step).await.is_err() {
                return Some(number);
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn transfer_below_minimum_speed_fails() {
        assert_eq!(steps(&mut guard(), 1, 150).await, None);
        assert_eq!(steps(&mut guard(), 1, 50).await, Some(9));
        assert_eq!(steps(&mut guard(), 5, 1).await, Some(1));
        // A single step may be too slow.
        let started = Instant::now();
        assert_eq!(steps(&mut guard(), 1000, 1 << 20).await, Some(0));
        assert_eq!(started.elapsed().as_secs(), 10);
        let mut without = SpeedGuard { min_speed: 0, ..guard() };
        assert_eq!(steps(&mut without, 1000, 0).await, None);
        let mut endless = SpeedGuard { window: Duration::ZERO, ..guard() };
        assert_eq!(steps(&mut endless, 1, 0).await, None);
    }
}
