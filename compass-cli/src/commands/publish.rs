use std::path::{Path, PathBuf};
use std::process::ExitCode;

use compass_bundle::document::BundleDocument;
use compass_bundle::store::{Published, Store};
use compass_bundle::{Bundle, checksum_path};
use compass_manifest::Policy;
use serde_json::json;

use super::verify::verify;
use crate::cli::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::repository::Repository;
use crate::rule_gate::{self, GateArgs};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle
    bundle: PathBuf,
    /// The store, as `s3://bucket`, `oss://bucket` or `file:///path`; otherwise the policy's
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    #[command(flatten)]
    gate: GateArgs,
    /// Publishes a bundle that names no commit, because its files were not committed
    #[arg(long)]
    allow_uncommitted: bool,
}

pub(crate) async fn run(
    args: &Args,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, CliError> {
    let policy = policy(args, global)?;
    let store = Store::open(args.to.as_ref().unwrap_or(&policy.store))?;
    let bundle = Bundle::open(&args.bundle).await?;
    if !args.allow_uncommitted {
        require_commit(bundle.document())?;
    }
    rule_gate::bundle::require_no_errors(&bundle, &policy, &args.gate, output).await?;
    let published = publish(&args.bundle, &store, output).await?;
    output.result(
        || {
            json!({
                "url": published.url,
                "size": published.size,
                "sha256": published.digest.hex(),
                "present": published.present,
            })
        },
        || {
            let present = if published.present { " (was there already)" } else { "" };
            format!("{}{present}\n", published.url)
        },
    );
    Ok(ExitCode::SUCCESS)
}

/// The policy of the release repository; the one that is named, or the built-in one, if there is no
/// repository and the store is said.
fn policy(args: &Args, global: &Global) -> Result<Policy, CliError> {
    let is_needed = args.to.is_none() || global.repo.is_some();
    let repository = match is_needed || Repository::is_around() {
        true => Repository::open(global)?,
        false => Repository::none(global)?,
    };
    Ok(repository.policy)
}

/// Refuses a bundle without a commit: a published bundle never changes, so its source must be found.
pub(super) fn require_commit(document: &BundleDocument) -> Result<(), CliError> {
    if document.commit.is_some() {
        return Ok(());
    }
    Err(CliError::check_failed("the bundle names no commit: its files differ from the last one")
        .hint("commit them and package again, or publish with `--allow-uncommitted`"))
}

/// Puts a bundle into a store.
pub(crate) async fn publish(
    path: &Path,
    store: &Store,
    output: &Output,
) -> Result<Published, CliError> {
    let bundle = Bundle::open(path).await?;
    // What is published never changes; where nothing vouches for the file, it is proven first.
    if !checksum_path(path).exists() && !verify(&bundle, false, output).await?.holds() {
        let message = format!("{} is damaged, and has no .sha256 beside it", path.display());
        let hint = "`compass verify` says what is damaged: copy or download the bundle again";
        return Err(CliError::check_failed(message).hint(hint));
    }
    let bar = output.bar("publish");
    let published = store.publish(path, bundle.document(), bar.shared()).await;
    bar.done();
    Ok(published?)
}
