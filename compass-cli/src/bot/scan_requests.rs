//! The requests to look at all open pull requests, or at those for some base branches.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// The maximum number of base branches of a request. Beyond it, all open pull requests are looked at.
const MAX_BASES: usize = 16;

/// The requests that wait. Several are one scan.
#[derive(Debug, Default)]
pub(super) struct ScanRequests {
    waiting: Mutex<Option<ScanRequest>>,
    changed: Notify,
}

/// A request for a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScanRequest {
    pub(super) scope: ScanScope,
    /// The number of the last delivery in the journal that asked for it; 0 if there is none.
    pub(super) delivery: u64,
}

/// The pull requests to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ScanScope {
    All,
    Bases(BTreeSet<String>),
}

impl ScanRequests {
    pub(super) fn add(&self, request: ScanRequest) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = Some(match waiting.take() {
            Some(ScanRequest { scope, delivery }) => ScanRequest {
                scope: scope.with(request.scope),
                delivery: delivery.max(request.delivery),
            },
            None => request,
        });
        drop(waiting);
        self.changed.notify_one();
    }

    /// Waits until a request was added.
    pub(super) async fn wait(&self) {
        self.changed.notified().await;
    }

    /// Takes the requests that wait.
    pub(super) fn take(&self) -> Option<ScanRequest> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ScanScope {
    /// Returns the scope of the pull requests for one base branch.
    pub(super) fn base(branch: String) -> Self {
        Self::Bases(BTreeSet::from([branch]))
    }

    /// Whether the scope includes the pull requests for a base branch.
    pub(super) fn includes(&self, branch: &str) -> bool {
        match self {
            Self::All => true,
            Self::Bases(branches) => branches.contains(branch),
        }
    }

    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Bases(mut all), Self::Bases(more)) => {
                all.extend(more);
                if all.len() > MAX_BASES { Self::All } else { Self::Bases(all) }
            }
            _ => Self::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_joined() {
        let requests = ScanRequests::default();
        let add = |scope, delivery| requests.add(ScanRequest { scope, delivery });
        add(ScanScope::base("main".to_owned()), 3);
        add(ScanScope::base("v2.7".to_owned()), 2);
        let ScanRequest { scope, delivery } = requests.take().unwrap();
        assert!(scope.includes("main") && scope.includes("v2.7") && !scope.includes("v2.8"));
        assert_eq!(delivery, 3);
        for number in 0..=MAX_BASES {
            add(ScanScope::base(number.to_string()), 0);
        }
        assert_eq!(requests.take().unwrap().scope, ScanScope::All);
        add(ScanScope::All, 0);
        add(ScanScope::base("main".to_owned()), 0);
        assert_eq!(requests.take().unwrap().scope, ScanScope::All);
    }
}
