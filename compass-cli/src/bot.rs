//! The bot: receives webhooks, scans the open pull requests, and looks at each.
//!
//! An event says only that a pull request should be looked at. Its state is computed anew each time, so
//! that events may be lost, repeated or late. The periodic scan finds what lost ones would have reported;
//! at the start, the forge's list of failed deliveries says which pull requests come first.

mod event;
mod journal;
mod metrics;
mod release_work;
mod scan_requests;
mod signature;
mod webhook;
mod work;
mod work_queue;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use compass_registry::server::{Server, ServerOptions};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use self::event::Affected;
use self::journal::{Journal, Pending, Task};
use self::metrics::{Gauges, Metrics};
pub(crate) use self::release_work::ReleaseWork;
use self::scan_requests::{ScanRequest, ScanRequests, ScanScope};
pub(crate) use self::signature::WebhookSecret;
use self::webhook::Receiver;
use self::work::{PullRequestWork, WorkDone};
use self::work_queue::{Job, Lane, WorkQueue};
use crate::board::Board;
use crate::error::Result;
use crate::forge::{MissedDelivery, RepoName};

/// How long the bot waits for connections and workers when it stops. The journal has the rest.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The maximum number of connections. Others wait until one ends.
const MAX_CONNECTIONS: usize = 256;

/// The delay before a scan that failed is repeated.
const SCAN_RETRY: Duration = Duration::from_secs(30);

/// The settings of a bot.
#[derive(Debug)]
pub(crate) struct BotOptions {
    pub(crate) repository: RepoName,
    pub(crate) secret: WebhookSecret,
    /// The address to listen at.
    pub(crate) listen: String,
    /// The directory of the journal.
    pub(crate) directory: PathBuf,
    pub(crate) scan_interval: Duration,
    /// The number of pull requests that are looked at at once.
    pub(crate) jobs: usize,
}

/// A running bot.
pub(crate) struct Bot {
    shared: Arc<Shared>,
    server: Server,
    tasks: JoinSet<()>,
}

/// What the tasks of a bot share.
struct Shared {
    repository: RepoName,
    receiver: Receiver,
    work: Arc<dyn PullRequestWork>,
    journal: Journal,
    queue: WorkQueue,
    scans: ScanRequests,
    board: Board,
    /// Notified after the work of the teams, which can publish packages.
    packages_changed: Notify,
    metrics: Metrics,
    scan_interval: Duration,
}

impl Bot {
    /// Listens, continues the tasks in the journal, and begins a scan.
    ///
    /// # Errors
    /// If the address or the journal cannot be used.
    pub(crate) async fn start(options: BotOptions, work: ReleaseWork) -> Result<Self> {
        Self::start_with(options, Arc::new(work)).await
    }

    async fn start_with(options: BotOptions, work: Arc<dyn PullRequestWork>) -> Result<Self> {
        let (journal, pending) = Journal::open(&options.directory)?;
        let shared = Arc::new(Shared {
            board: Board::new(&options.repository),
            repository: options.repository,
            receiver: Receiver::new(options.secret, &options.directory),
            work,
            journal,
            queue: WorkQueue::new(options.scan_interval),
            scans: ScanRequests::default(),
            packages_changed: Notify::new(),
            metrics: Metrics::default(),
            scan_interval: options.scan_interval,
        });
        let router = routes(&shared);
        let connections = ServerOptions::default().max_connections(MAX_CONNECTIONS);
        let server = Server::start_router(router, &options.listen, connections).await?;
        for Pending { task, delivery } in pending {
            match task {
                Task::Pull(number) => shared.add(number, delivery),
                Task::Scan => shared.request_scan(ScanScope::All, delivery),
            }
        }
        let mut tasks = JoinSet::new();
        for _ in 0..options.jobs {
            tasks.spawn(work_all(Arc::clone(&shared), Lane::Look));
        }
        // Each piece of work uses all transfers, so that one is done at a time.
        tasks.spawn(work_all(Arc::clone(&shared), Lane::Work));
        tasks.spawn(scan_all(Arc::clone(&shared)));
        tasks.spawn(list_packages(Arc::clone(&shared)));
        Ok(Self { shared, server, tasks })
    }

    /// Returns the address, as `127.0.0.1:8080`.
    pub(crate) fn host(&self) -> String {
        self.server.host()
    }

    /// Answers the requests in progress, ends the work in progress, and stops. What takes longer stays in
    /// the journal.
    pub(crate) async fn stop(mut self) {
        let _ = tokio::time::timeout(STOP_TIMEOUT, self.server.stop()).await;
        self.shared.queue.close();
        let workers = async {
            while self.shared.queue.lengths().1 > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(STOP_TIMEOUT, workers).await;
        self.tasks.shutdown().await;
        if let Err(error) = self.shared.journal.flush().await {
            tracing::warn!(%error, "the next start looks at all open pull requests");
        }
    }
}

impl Shared {
    /// Queues a pull request.
    fn add(&self, number: u64, delivery: u64) {
        if !self.queue.add(number, delivery) {
            self.request_scan(ScanScope::All, delivery);
        }
    }

    fn request_scan(&self, scope: ScanScope, delivery: u64) {
        self.scans.add(ScanRequest { scope, delivery });
    }

    /// Looks at a pull request; returns whether that succeeded.
    async fn look(&self, number: u64) -> bool {
        match self.work.update(number).await {
            Ok(update) => {
                self.metrics.looks.add(1);
                self.metrics.writes.add(update.writes);
                self.board.set_pull(number, update.release);
                if update.is_work_due {
                    self.queue.add_work(number);
                }
                true
            }
            Err(error) => {
                self.metrics.failed_looks.add(1);
                tracing::warn!(number, %error, "cannot look at the pull request");
                self.board.set_error(number, &error);
                false
            }
        }
    }

    /// Does the work of the teams for a pull request; returns whether that succeeded.
    async fn do_work(&self, number: u64) -> bool {
        let failure = match self.work.work(number).await {
            Ok(WorkDone { release, steps, failure }) => {
                self.metrics.steps.add(steps);
                self.board.set_pull(number, Some(release));
                if steps > 0 {
                    self.packages_changed.notify_one();
                }
                failure
            }
            Err(error) => {
                self.board.set_error(number, &error);
                Some(error)
            }
        };
        if let Some(error) = &failure {
            self.metrics.failed_steps.add(1);
            tracing::warn!(number, %error, "cannot do the work for the pull request");
        }
        failure.is_none()
    }

    /// Queues the pull requests of webhooks that did not arrive while the bot was stopped.
    async fn queue_missed(&self) {
        let missed = match self.work.missed_deliveries(&event::EVENTS).await {
            Ok(missed) => missed,
            Err(error) => {
                tracing::warn!(%error, "cannot read which webhooks failed; the scan replaces them");
                return;
            }
        };
        self.metrics.missed.add(missed.len());
        for MissedDelivery { event, payload } in missed {
            let payload = payload.to_string();
            // The scan that follows includes everything else.
            if let Ok(Affected::Pull(number)) =
                event::affected(&event, payload.as_bytes(), &self.repository)
            {
                self.queue.add(number, 0);
            }
        }
    }

    /// Queues the open pull requests of a scope.
    async fn scan(&self, scope: &ScanScope) -> Result<()> {
        let before = self.board.numbers();
        let open = self.work.open_pull_requests().await?;
        if *scope == ScanScope::All {
            let numbers: BTreeSet<u64> = open.iter().map(|pull| pull.number).collect();
            // Pull requests that were opened since are not in the list.
            let closed = before.difference(&numbers).copied().collect();
            self.board.scanned(&closed, Timestamp::now());
        }
        for pull in open.iter().filter(|pull| scope.includes(&pull.base)) {
            // A full queue is scanned again later.
            self.queue.add(pull.number, 0);
        }
        Ok(())
    }
}

/// Takes the pull requests of a lane until the queue is closed.
async fn work_all(shared: Arc<Shared>, lane: Lane) {
    while let Some(job) = shared.queue.next(lane).await {
        let Job { number, delivery, .. } = job;
        let is_success = match lane {
            Lane::Look => shared.look(number).await,
            Lane::Work => shared.do_work(number).await,
        };
        if is_success && delivery > 0 {
            shared.journal.finish(Pending { task: Task::Pull(number), delivery }).await;
        }
        shared.queue.finish(job, is_success);
    }
}

/// Scans the open pull requests at once, periodically, and when a delivery asks for it.
async fn scan_all(shared: Arc<Shared>) {
    shared.queue_missed().await;
    let mut periodic = tokio::time::interval(shared.scan_interval);
    periodic.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = periodic.tick() => shared.request_scan(ScanScope::All, 0),
            () = shared.scans.wait() => {}
        }
        let Some(request) = shared.scans.take() else { continue };
        match shared.scan(&request.scope).await {
            Ok(()) => {
                shared.metrics.scan_succeeded(Timestamp::now());
                let done = Pending { task: Task::Scan, delivery: request.delivery };
                shared.journal.finish(done).await;
            }
            Err(error) => {
                shared.metrics.failed_scans.add(1);
                tracing::warn!(%error, "cannot list the open pull requests");
                shared.board.set_scan_error(&error);
                shared.scans.add(request);
                tokio::time::sleep(SCAN_RETRY.min(shared.scan_interval)).await;
            }
        }
    }
}

/// Lists the published packages at once, and periodically.
async fn list_packages(shared: Arc<Shared>) {
    loop {
        match shared.work.packages().await {
            Ok(packages) => shared.board.set_packages(packages),
            Err(error) => {
                tracing::warn!(%error, "cannot list the published packages");
                shared.board.set_packages_error(&error);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(shared.scan_interval) => {}
            () = shared.packages_changed.notified() => {}
        }
    }
}

fn routes(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/webhook", post(webhook::receive))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .with_state(Arc::clone(shared))
        .merge(shared.board.router())
}

/// Fails if deliveries cannot be written. A restart does not help if only the forge fails.
async fn health(State(shared): State<Arc<Shared>>) -> Response {
    match shared.journal.flush().await {
        Ok(()) => "ok\n".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let (waiting, running) = shared.queue.lengths();
    let open_releases = shared.board.open_releases();
    let text = shared.metrics.text(Gauges { waiting, running, open_releases });
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}
