//! `compass publish`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use compass_bundle::store::{PublishOptions, Published, Store, StoreOptions, open_store};
use compass_bundle::{Bundle, checksum_path};
use compass_manifest::Policy;
use serde_json::json;

use crate::display::human_bytes;
use crate::error::{CliError, Result};
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::package_verification::{DAMAGED_HINT, verify_package};
use crate::packaging::require_commit;
use crate::repository::Repository;
use crate::rule_gate::{self, GateArgs};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The path of the bundle
    bundle: PathBuf,
    /// The store: `s3://bucket`, `oss://bucket` or `file:///path` [default: the policy's]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    #[command(flatten)]
    gate: GateArgs,
    #[command(flatten)]
    publication: PublicationArgs,
}

/// The options of a publication.
#[derive(Debug, clap::Args)]
pub(super) struct PublicationArgs {
    /// Publishes a bundle that names no commit because its files had uncommitted changes
    #[arg(long)]
    pub(super) allow_uncommitted: bool,
    /// Publishes to an OSS bucket with versioning, which lets published bundles be replaced
    #[arg(long)]
    allow_versioned: bool,
    /// Sends all layers, also those that the store could copy from a bundle of the same name
    #[arg(long, hide_short_help = true)]
    no_copy: bool,
}

impl PublicationArgs {
    /// The options that are set, although they only affect a publication.
    pub(super) fn given(&self) -> Vec<&'static str> {
        let options = [
            (self.allow_uncommitted, "--allow-uncommitted"),
            (self.allow_versioned, "--allow-versioned"),
            (self.no_copy, "--no-copy"),
        ];
        options.into_iter().filter_map(|(is_set, name)| is_set.then_some(name)).collect()
    }

    pub(super) fn store_options(&self, global: &GlobalArgs) -> StoreOptions {
        let options = global.store_options();
        options.allow_versioned(self.allow_versioned).copy(!self.no_copy)
    }

    pub(super) fn open_store(&self, url: &str, global: &GlobalArgs) -> Result<Arc<dyn Store>> {
        Ok(open_store(url, &self.store_options(global))?)
    }
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let policy = policy(args, global)?;
    let url = store_url(args.to.as_deref(), &policy)?;
    let store = args.publication.open_store(url, global)?;
    let bundle = Bundle::open(&args.bundle).await?;
    if !args.publication.allow_uncommitted {
        require_commit(bundle.document().commit.as_deref())?;
    }
    rule_gate::bundle::require_no_errors(&bundle, &policy, &args.gate, output).await?;
    let published = publish(&args.bundle, &*store, output).await?;
    output.result(
        || {
            json!({
                "url": published.url,
                "size": published.size,
                "sha256": published.digest.hex(),
                "present": published.present,
                "sent": published.sent,
                "copied": published.copied,
            })
        },
        || format!("{} ({})\n", published.url, describe_transfer(&published)),
    );
    Ok(ExitCode::SUCCESS)
}

/// Reads the policy of the release repository. With `--to` and outside of a repository, it is that
/// of `--policy` or the built-in one.
fn policy(args: &Args, global: &GlobalArgs) -> Result<Arc<Policy>> {
    let needs_repository = args.to.is_none() || global.repo.is_some();
    let repository = match needs_repository || Repository::is_in_one() {
        true => Repository::open(global)?,
        false => Repository::policy_only(global)?,
    };
    Ok(repository.policy)
}

/// Returns the URL of `--to`, or that of the policy.
pub(super) fn store_url<'u>(to: Option<&'u str>, policy: &'u Policy) -> Result<&'u str> {
    let no_store = || CliError::usage("the policy names no store").hint("name one: `--to URL`");
    to.or(policy.store.as_deref()).ok_or_else(no_store)
}

/// Describes the bytes that a publication has transferred.
pub(super) fn describe_transfer(published: &Published) -> String {
    describe_bytes(published.present, published.sent, published.copied)
}

pub(super) fn describe_bytes(present: bool, sent: u64, copied: u64) -> String {
    match (present, copied) {
        (true, _) => "already published".to_owned(),
        (false, 0) => format!("{} sent", human_bytes(sent)),
        (false, _) => {
            format!("{} sent, {} copied inside the store", human_bytes(sent), human_bytes(copied))
        }
    }
}

/// Uploads a bundle to a store.
pub(crate) async fn publish(path: &Path, store: &dyn Store, output: &Output) -> Result<Published> {
    let bundle = Bundle::open(path).await?;
    // A published bundle is immutable: without a checksum file, every byte is verified first.
    if !checksum_path(path).exists()
        && !verify_package(&bundle.clone().into(), false, output).await?.is_ok()
    {
        let message = format!("{} is damaged, and has no .sha256 file", path.display());
        return Err(CliError::check_failed(message).hint(DAMAGED_HINT));
    }
    let progress = output.progress("publish");
    let options = PublishOptions::default().progress(progress.shared());
    Ok(store.publish(path, bundle.document(), &options).await?)
}
