//! The tokens that are known, and what each is for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Immediate, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Mutex;

use super::credentials::Secret;

/// What a request needs to be allowed to do, as `repository:release/web:pull`; several are
/// separated by spaces.
pub(super) type Scope = String;

/// Scopes that one token is asked for: it names each of them, and proxies take headers of eight
/// kilobytes.
const AT_ONCE: usize = 20;

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
pub(super) struct Slot {
    /// What it is for.
    pub(super) scopes: Arc<[Scope]>,
    pub(super) header: Arc<Mutex<Option<Header>>>,
}

impl Slot {
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
pub(super) struct Tokens(Immediate<HashMap<Scope, Slot>>);

impl Tokens {
    fn slots(&self) -> MutexGuard<'_, HashMap<Scope, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn of(&self, scope: &str) -> Slot {
        let own = || Slot::new(&[scope.to_owned()]);
        self.slots().entry(scope.to_owned()).or_insert_with(own).clone()
    }

    /// The headers that are known.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let slots = self.slots();
        let known = slots.values().filter_map(|slot| {
            // One that is being asked for is not known yet.
            let header = slot.header.try_lock().ok()?;
            Some(header.as_ref()?.value.clone())
        });
        known.collect()
    }

    /// Whether a slot is still that of a scope.
    pub(super) fn holds(&self, scope: &str, slot: &Slot) -> bool {
        self.slots().get(scope).is_some_and(|held| Arc::ptr_eq(&held.header, &slot.header))
    }

    /// Lets these scopes have tokens in common, where they have none yet.
    pub(super) fn share(&self, mut scopes: Vec<Scope>) {
        let mut slots = self.slots();
        scopes.sort_unstable();
        scopes.dedup();
        scopes.retain(|scope| !slots.contains_key(scope));
        for scopes in scopes.chunks(AT_ONCE) {
            let slot = Slot::new(scopes);
            slots.extend(scopes.iter().map(|scope| (scope.clone(), slot.clone())));
        }
    }

    /// Gives each of a slot's scopes one of its own: not every service knows tokens for several.
    pub(super) fn part(&self, shared: &Slot) {
        let mut slots = self.slots();
        for scope in &*shared.scopes {
            let held = slots.get_mut(scope);
            if let Some(held) = held.filter(|held| Arc::ptr_eq(&held.header, &shared.header)) {
                *held = Slot::new(std::slice::from_ref(scope));
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
        let tokens = Tokens::default();
        let before = tokens.of("repository:app-07:pull");
        tokens.share([scopes(0..30), scopes(0..30)].concat());
        let of = |number: usize| tokens.of(&format!("repository:app-{number:02}:pull"));
        assert!(Arc::ptr_eq(&of(7).header, &before.header), "it has a slot already");
        let shared = of(0);
        assert_eq!(shared.scopes.len(), AT_ONCE);
        assert_eq!(of(29).scopes.len(), 29 - AT_ONCE);
        assert!(Arc::ptr_eq(&shared.header, &of(20).header));

        tokens.part(&shared);
        assert!(!of(0).is_shared() && !of(20).is_shared() && of(29).is_shared());
        assert!(!tokens.holds("repository:app-00:pull", &shared));
        tokens.share(scopes(0..2));
        assert!(!of(0).is_shared());
        let own = of(1);
        tokens.part(&shared);
        assert!(Arc::ptr_eq(&own.header, &of(1).header), "it has parted before");
    }
}
