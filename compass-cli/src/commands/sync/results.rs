//! The results of a run, each known as soon as it is there: who interrupts a long run is told what
//! has arrived.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use compass_registry::Platform;

use super::report::Report;
use super::{Route, Synced};
use crate::failure::Failure;

/// A place for the result of each route.
pub(crate) struct Results<'r> {
    routes: &'r [Route],
    known: Mutex<Vec<Option<Synced>>>,
}

impl<'r> Results<'r> {
    pub(crate) fn of(routes: &'r [Route]) -> Self {
        Self { routes, known: Mutex::new(routes.iter().map(|_| None).collect()) }
    }

    pub(super) fn routes(&self) -> &'r [Route] {
        self.routes
    }

    pub(super) fn put(&self, number: usize, synced: Synced) {
        self.known()[number] = Some(synced);
    }

    /// All results, in the order of the routes; of what has none, that it was interrupted.
    pub(crate) fn take(&self) -> Vec<Synced> {
        let mut known = self.known();
        let unknown = |route: &Route| Synced {
            route: route.clone(),
            result: Err(Failure::interrupted(Failure::OUTSIDE)),
            retries: 0,
            seconds: 0.0,
        };
        let all = known.iter_mut().zip(self.routes);
        all.map(|(known, route)| known.take().unwrap_or_else(|| unknown(route))).collect()
    }

    fn known(&self) -> MutexGuard<'_, Vec<Option<Synced>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run under way. Dropped, it leaves a report of what is known.
pub(super) struct UnderWay<'r> {
    pub(super) results: &'r Results<'r>,
    pub(super) report: Option<&'r Path>,
    pub(super) platforms: &'r [Platform],
    pub(super) dry_run: bool,
    pub(super) began: Instant,
    pub(super) is_over: bool,
}

impl UnderWay<'_> {
    pub(super) fn to_report(&self) -> Report {
        Report {
            synced: self.results.take(),
            platforms: self.platforms.to_vec(),
            dry_run: self.dry_run,
            seconds: self.began.elapsed().as_secs_f64(),
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let (false, Some(path)) = (self.is_over, self.report) {
            // What is interrupted ends, with a report or without.
            let _ = self.to_report().save(path);
        }
    }
}
