//! Trying again what failed for a reason that may pass.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use crate::Error;

/// How often something is tried before its error is final.
pub(crate) const TRIES: u32 = 5;

/// How long a peer may be silent before the connection counts as broken.
pub(crate) const SILENCE: Duration = Duration::from_mins(1);

/// Waits before try number `failures + 1`: 0.2 s doubled each time, up to a half less by chance, so
/// that many workers do not come back at once.
pub(crate) async fn pause(failures: u32) {
    let longest = 200_u64 << failures.saturating_sub(1).min(6);
    let chance = RandomState::new().build_hasher().finish();
    tokio::time::sleep(Duration::from_millis(longest - chance % (longest / 2))).await;
}

/// Runs an operation again while it fails for a reason that may pass.
pub(crate) async fn retrying<T, F>(mut run: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut failures = 0;
    loop {
        match run().await {
            Err(error) if error.is_transient() && failures + 1 < TRIES => {
                failures += 1;
                tracing::debug!(%error, failures, "try again");
                pause(failures).await;
            }
            result => return result,
        }
    }
}
