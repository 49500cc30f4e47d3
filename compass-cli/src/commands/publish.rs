//! `compass publish`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use compass_bundle::document::BundleDocument;
use compass_bundle::store::{PublishOptions, Published, Store};
use compass_bundle::{Bundle, checksum_path};
use compass_manifest::Policy;
use serde_json::json;

use super::verify::{DAMAGED_HINT, verify_package};
use crate::error::{CliError, Result};
use crate::global_args::GlobalArgs;
use crate::output::Output;
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
    allow: AllowArgs,
}

/// Options that allow publications which are refused by default.
#[derive(Debug, clap::Args)]
pub(super) struct AllowArgs {
    /// Publishes a bundle that names no commit because its files had uncommitted changes
    #[arg(long)]
    pub(super) allow_uncommitted: bool,
    /// Publishes to an OSS bucket with versioning, which lets published bundles be replaced
    #[arg(long)]
    pub(super) allow_versioned: bool,
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let policy = policy(args, global)?;
    let url = args.to.as_ref().or(policy.store.as_ref()).ok_or_else(no_store)?;
    let store = global.open_store(url, args.allow.allow_versioned)?;
    let bundle = Bundle::open(&args.bundle).await?;
    if !args.allow.allow_uncommitted {
        require_commit(bundle.document())?;
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
            })
        },
        || {
            let present = if published.present { " (already published)" } else { "" };
            format!("{}{present}\n", published.url)
        },
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

/// Returns an error for a bundle that names no commit: the source of a published bundle must be known.
pub(super) fn require_commit(document: &BundleDocument) -> Result<()> {
    if document.commit.is_some() {
        return Ok(());
    }
    Err(CliError::check_failed("the bundle names no commit: its files have uncommitted changes")
        .hint("commit the files and package again, or publish with `--allow-uncommitted`"))
}

fn no_store() -> CliError {
    CliError::usage("the policy names no store").hint("name one: `--to URL`")
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
