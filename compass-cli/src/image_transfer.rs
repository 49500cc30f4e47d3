//! Copies images between registries, each with its own result.

mod distinct;
mod job;
mod report;
mod report_on_drop;
mod result_slots;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use compass_registry::client::Client;
use compass_registry::internal::with_retry_counter;
use compass_registry::{Copier, CopyOptions, CopyReport, ImageSource, Reference};
use futures_util::{FutureExt as _, StreamExt as _, stream};

use crate::error::Result;
use crate::existing_tag;
use crate::registries::Registries;
use crate::repository::TargetImage;

pub(crate) use self::distinct::{distinct, transfers_of};
pub(crate) use self::job::Job;
pub(crate) use self::report::{FAILED, FORMAT, Sums};
pub(crate) use self::result_slots::ResultSlots;

/// The source and the destination of an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ImageTransfer {
    pub(crate) source: Reference,
    pub(crate) release: Reference,
}

impl ImageTransfer {
    /// Creates the transfer of an image from the source registry to the release registry.
    pub(crate) fn of(image: &TargetImage) -> Self {
        Self { source: image.source.clone(), release: image.release.clone() }
    }
}

/// The result of one image.
#[derive(Debug)]
pub(crate) struct TransferResult {
    pub(crate) transfer: ImageTransfer,
    pub(crate) result: Result<Outcome>,
    pub(crate) retries: u32,
    pub(crate) seconds: f64,
}

/// The report about a copied image, or about the plan of its copy.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) report: CopyReport,
    pub(crate) is_plan: bool,
}

/// Copies images, or plans their copies with `dry_run`. The error of an image does not stop the others.
pub(crate) async fn sync(
    results: &ResultSlots<'_>,
    registries: &Registries,
    options: &CopyOptions,
    dry_run: bool,
) -> Result<()> {
    let transfers = results.transfers();
    let mut clients: BTreeMap<&str, Client> = BTreeMap::new();
    let both = || transfers.iter().flat_map(|transfer| [&transfer.source, &transfer.release]);
    for host in both().map(Reference::host) {
        if !clients.contains_key(host) {
            clients.insert(host, registries.client(host, false)?);
        }
    }
    for (host, client) in &clients {
        let own = both().filter(|one| one.host() == *host);
        client.prefetch_pull_tokens(own.map(Reference::repository)).await?;
    }
    let releases = transfers.iter().map(|transfer| transfer.release.host());
    let copier = |host| Copier::new(Arc::new(clients[host].clone()), options.clone());
    let copiers: BTreeMap<&str, Copier> = releases.map(|host| (host, copier(host))).collect();
    let work = transfers.iter().enumerate().map(|(number, transfer)| {
        let source = Arc::new(clients[transfer.source.host()].clone());
        let result = sync_one(transfer, source, &copiers[transfer.release.host()], dry_run);
        result.map(move |result| {
            options.progress.image_done();
            results.put(number, result);
        })
    });
    let work = stream::iter(work).buffer_unordered(options.concurrent_images());
    work.collect::<()>().await;
    Ok(())
}

async fn sync_one(
    transfer: &ImageTransfer,
    source: Arc<dyn ImageSource>,
    copier: &Copier,
    dry_run: bool,
) -> TransferResult {
    let (from, to) = (&transfer.source, &transfer.release);
    let started = Instant::now();
    let work = async {
        let (from, to) = (from.into(), to.into());
        match dry_run {
            true => copier.plan(source, &from, &to).await,
            false => copier.copy(source, &from, &to).await,
        }
    };
    let (result, retries) = Box::pin(with_retry_counter(work)).await;
    let result = result
        .map(|report| Outcome { report, is_plan: dry_run })
        .map_err(existing_tag::registry_error)
        .map_err(|error| error.context(format!("cannot copy {from} to {to}")));
    // A subset of an index has another digest than the reference.
    let release =
        result.as_ref().map_or_else(|_| to.clone(), |done| to.with_digest(done.report.digest));
    let transfer = ImageTransfer { source: from.clone(), release };
    TransferResult { transfer, result, retries, seconds: started.elapsed().as_secs_f64() }
}
