//! The tokens that are known, and what each is for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::credentials::Secret;

/// What a request needs to be allowed to do, as `repository:release/web:pull`; several are
/// separated by spaces.
pub(super) type Scope = String;

/// Scopes that one token is asked for: it names each of them, and proxies take headers of eight
/// kilobytes.
const MAX_GROUPED_SCOPES: usize = 20;

/// An `Authorization` header.
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

/// A token, or the place for it: who asks for one keeps it locked, and who comes second finds what
/// the first got.
#[derive(Debug, Clone)]
pub(super) struct TokenCell {
    /// What it is for.
    pub(super) scopes: Arc<[Scope]>,
    pub(super) header: Arc<tokio::sync::Mutex<Option<Header>>>,
}

impl TokenCell {
    fn new(scopes: &[Scope]) -> Self {
        Self { scopes: scopes.into(), header: Arc::default() }
    }

    /// Whether others than this scope have to do with it.
    pub(super) fn is_shared(&self) -> bool {
        self.scopes.len() > 1
    }
}

/// A slot for each scope.
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

    /// The headers that are known.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let cells = self.cells();
        let known = cells.values().filter_map(|cell| {
            // One that is being asked for is not known yet.
            let header = cell.header.try_lock().ok()?;
            Some(header.as_ref()?.value.clone())
        });
        known.collect()
    }

    /// Whether a slot is still that of a scope.
    pub(super) fn is_current(&self, scope: &str, cell: &TokenCell) -> bool {
        self.cells().get(scope).is_some_and(|held| Arc::ptr_eq(&held.header, &cell.header))
    }

    /// Lets these scopes have tokens in common, where they have none yet.
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

    /// Gives each of a slot's scopes one of its own: not every service knows tokens for several.
    pub(super) fn ungroup(&self, shared: &TokenCell) {
        let mut cells = self.cells();
        for scope in &*shared.scopes {
            let held = cells.get_mut(scope);
            if let Some(held) = held.filter(|held| Arc::ptr_eq(&held.header, &shared.header)) {
                *held = TokenCell::new(std::slice::from_ref(scope));
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

    #[test]
    fn scopes_that_share_a_slot_part_for_good() {
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
        assert!(Arc::ptr_eq(&own.header, &entry(1).header), "it has parted before");
    }
}
