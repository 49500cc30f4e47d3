//! A cache of tokens by scope.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::Secret;

/// The access that a request needs, such as `repository:release/web:pull`. Several scopes are
/// separated by spaces.
pub(super) type Scope = String;

/// The maximum number of scopes in one token. A token lists all its scopes, and proxies limit
/// headers to 8 KiB.
const MAX_GROUPED_SCOPES: usize = 20;

/// An `Authorization` header and its expiry.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) value: Secret,
    pub(super) expires: Option<Instant>,
}

impl Header {
    pub(super) fn is_fresh(&self) -> bool {
        self.expires.is_none_or(|at| Instant::now() < at)
    }
}

/// A cached token. The task that requests it holds the lock, so that others wait for the result
/// instead of requesting another one.
#[derive(Debug, Clone)]
pub(super) struct TokenCell {
    /// The scopes that the token covers.
    pub(super) scopes: Arc<[Scope]>,
    pub(super) header: Arc<tokio::sync::Mutex<Option<Header>>>,
    /// The last headers. They are redacted from messages even while another one is requested.
    issued: Arc<Mutex<VecDeque<Secret>>>,
}

/// The number of redacted headers of a cell: requests may still use the previous one.
const REDACTED_HEADERS: usize = 2;

impl TokenCell {
    fn new(scopes: &[Scope]) -> Self {
        Self { scopes: scopes.into(), header: Arc::default(), issued: Arc::default() }
    }

    /// Records a header, so that it is redacted from messages.
    pub(super) fn record(&self, header: &Header) {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.push_front(header.value.clone());
        issued.truncate(REDACTED_HEADERS);
    }

    /// Whether the token covers several scopes.
    pub(super) fn is_shared(&self) -> bool {
        self.scopes.len() > 1
    }
}

/// A token cell for each scope.
#[derive(Debug, Default)]
pub(super) struct TokenCache(Mutex<HashMap<Scope, TokenCell>>);

impl TokenCache {
    fn cells(&self) -> MutexGuard<'_, HashMap<Scope, TokenCell>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn entry(&self, scope: &str) -> TokenCell {
        let own = || TokenCell::new(&[scope.to_owned()]);
        self.cells().entry(scope.to_owned()).or_insert_with(own).clone()
    }

    /// Returns all headers that requests may use.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let issued =
            |cell: &TokenCell| cell.issued.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.cells().values().flat_map(issued).collect()
    }

    /// Whether a cell still belongs to a scope.
    pub(super) fn is_current(&self, scope: &str, cell: &TokenCell) -> bool {
        self.cells().get(scope).is_some_and(|held| Arc::ptr_eq(&held.header, &cell.header))
    }

    /// Assigns shared cells to the scopes that have none yet.
    pub(super) fn group(&self, mut scopes: Vec<Scope>) {
        let mut cells = self.cells();
        scopes.sort_unstable();
        scopes.dedup();
        scopes.retain(|scope| !cells.contains_key(scope));
        for scopes in scopes.chunks(MAX_GROUPED_SCOPES) {
            let cell = TokenCell::new(scopes);
            cells.extend(scopes.iter().map(|scope| (scope.clone(), cell.clone())));
        }
    }

    /// Gives each scope of a shared cell a cell of its own. Some services issue tokens for one
    /// scope only.
    pub(super) fn ungroup(&self, shared: &TokenCell) {
        let mut cells = self.cells();
        for scope in &*shared.scopes {
            let held = cells.get_mut(scope);
            if let Some(held) = held.filter(|held| Arc::ptr_eq(&held.header, &shared.header)) {
                let issued = Arc::clone(&shared.issued);
                *held = TokenCell { issued, ..TokenCell::new(std::slice::from_ref(scope)) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(numbers: std::ops::Range<usize>) -> Vec<Scope> {
        numbers.map(|number| format!("repository:app-{number:02}:pull")).collect()
    }

    #[tokio::test]
    async fn secrets_include_token_under_renewal() {
        let tokens = TokenCache::default();
        tokens.group(scopes(0..2));
        let cell = tokens.entry("repository:app-00:pull");
        let _renewal = cell.header.lock().await;
        for number in 0..=REDACTED_HEADERS {
            cell.record(&Header { value: Secret::new(format!("t{number}")), expires: None });
        }
        tokens.ungroup(&cell);
        let secrets = tokens.secrets();
        assert!(secrets.contains(&Secret::new("t1")) && secrets.contains(&Secret::new("t2")));
        assert!(!secrets.contains(&Secret::new("t0")));
    }

    #[test]
    fn ungroup_separates_shared_scopes_permanently() {
        let tokens = TokenCache::default();
        let before = tokens.entry("repository:app-07:pull");
        tokens.group([scopes(0..30), scopes(0..30)].concat());
        let entry = |number: usize| tokens.entry(&format!("repository:app-{number:02}:pull"));
        assert!(Arc::ptr_eq(&entry(7).header, &before.header), "it has a cell already");
        let shared = entry(0);
        assert_eq!(shared.scopes.len(), MAX_GROUPED_SCOPES);
        assert_eq!(entry(29).scopes.len(), 29 - MAX_GROUPED_SCOPES);
        assert!(Arc::ptr_eq(&shared.header, &entry(20).header));

        tokens.ungroup(&shared);
        assert!(!entry(0).is_shared() && !entry(20).is_shared() && entry(29).is_shared());
        assert!(!tokens.is_current("repository:app-00:pull", &shared));
        tokens.group(scopes(0..2));
        assert!(!entry(0).is_shared());
        let own = entry(1);
        tokens.ungroup(&shared);
        assert!(Arc::ptr_eq(&own.header, &entry(1).header), "it was ungrouped before");
    }
}
