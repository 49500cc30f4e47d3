//! The board: pages about the open release pull requests and the published packages.
//!
//! The pages are read-only, need no scripts, and contain no secrets. Texts of other people are escaped.

mod language;
mod pages;
mod routes;
mod texts;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use compass_bundle::store::StoredBundle;
use compass_manifest::review::{Statement, Status};
use jiff::Timestamp;

use crate::error::CliError;
use crate::forge::{PullRequest, RepoName};
use crate::pull_request::TargetFacts;

/// The content of the pages. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    repository: String,
    state: Arc<Mutex<State>>,
}

/// An open release pull request.
#[derive(Debug)]
pub(crate) struct ReleasePull {
    /// Without its body.
    pub(crate) pull: PullRequest,
    pub(crate) status: Status,
    pub(crate) targets: Vec<TargetFacts>,
    /// Remarks about the change.
    pub(crate) remarks: Vec<Statement>,
    /// The last failure of the work of a team.
    pub(crate) failure: Option<String>,
    /// The labels of the queue in their order, without `queue/`.
    pub(crate) queue: Vec<String>,
}

/// The packages in a store.
#[derive(Debug, Default, Clone)]
pub(crate) struct Packages {
    /// The URL of the store, without secrets.
    pub(crate) store: String,
    pub(crate) bundles: Vec<StoredBundle>,
}

#[derive(Debug, Default)]
struct State {
    pulls: BTreeMap<u64, Arc<ReleasePull>>,
    /// The pull requests that could not be read the last time, with the reasons.
    errors: BTreeMap<u64, String>,
    /// The end of the last successful scan.
    scanned: Option<Timestamp>,
    scan_error: Option<String>,
    packages: Option<Arc<Packages>>,
    packages_error: Option<String>,
}

impl Board {
    pub(crate) fn new(repository: &RepoName) -> Self {
        Self { repository: repository.to_string(), state: Arc::default() }
    }

    /// The routes of the pages.
    pub(crate) fn router(&self) -> Router {
        routes::router(self.clone())
    }

    /// Replaces the state of a pull request, or removes it.
    pub(crate) fn set_pull(&self, number: u64, release: Option<ReleasePull>) {
        let mut state = self.state();
        state.errors.remove(&number);
        match release {
            Some(release) => drop(state.pulls.insert(number, Arc::new(release))),
            None => drop(state.pulls.remove(&number)),
        }
    }

    /// Marks a pull request as one that could not be read.
    pub(crate) fn set_error(&self, number: u64, error: &CliError) {
        self.state().errors.insert(number, error_line(error));
    }

    /// The pull requests on the board.
    pub(crate) fn numbers(&self) -> BTreeSet<u64> {
        let state = self.state();
        state.pulls.keys().chain(state.errors.keys()).copied().collect()
    }

    /// Notes a successful scan, and removes the pull requests that it found closed.
    pub(crate) fn scanned(&self, closed: &BTreeSet<u64>, at: Timestamp) {
        let mut state = self.state();
        state.pulls.retain(|number, _| !closed.contains(number));
        state.errors.retain(|number, _| !closed.contains(number));
        state.scanned = Some(at);
        state.scan_error = None;
    }

    /// Marks the list of pull requests as one that could not be read.
    pub(crate) fn set_scan_error(&self, error: &CliError) {
        self.state().scan_error = Some(error_line(error));
    }

    pub(crate) fn set_packages(&self, mut packages: Packages) {
        let time = |bundle: &StoredBundle| bundle.published.parse::<Timestamp>().ok();
        // The newest first. Those of the same moment are in the order of names, with the last version first.
        packages.bundles.sort_by_cached_key(|bundle| {
            let StoredBundle { name, version, .. } = bundle;
            (Reverse(time(bundle)), name.clone(), Reverse(version.clone()))
        });
        let mut state = self.state();
        state.packages = Some(Arc::new(packages));
        state.packages_error = None;
    }

    /// Marks the list of packages as one that could not be read.
    pub(crate) fn set_packages_error(&self, error: &CliError) {
        self.state().packages_error = Some(error_line(error));
    }

    /// The number of open release pull requests.
    pub(crate) fn open_releases(&self) -> usize {
        self.state().pulls.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The message of an error with its causes.
fn error_line(error: &CliError) -> String {
    let causes = error.causes.iter();
    std::iter::once(&error.message).chain(causes).cloned().collect::<Vec<_>>().join(": ")
}
