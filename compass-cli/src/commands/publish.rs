use std::path::{Path, PathBuf};
use std::process::ExitCode;

use compass_bundle::store::{Published, Store};
use compass_bundle::{Bundle, checksum_path};
use serde_json::json;

use super::verify::verify;
use crate::cli::Global;
use crate::failure::Failure;
use crate::output::Output;
use crate::repository::Repository;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle
    bundle: PathBuf,
    /// The store, as `s3://bucket`, `oss://bucket` or `file:///path`; otherwise the policy's
    #[arg(long, value_name = "URL")]
    to: Option<String>,
}

pub(crate) async fn run(
    args: &Args,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let store = match &args.to {
        Some(store) => store.clone(),
        None => Repository::open(global)?.policy.store,
    };
    let published = publish(&args.bundle, &Store::open(&store)?, output).await?;
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

/// Puts a bundle into a store.
pub(crate) async fn publish(
    path: &Path,
    store: &Store,
    output: &Output,
) -> Result<Published, Failure> {
    let bundle = Bundle::open(path).await?;
    // What is published never changes; where nothing vouches for the file, it is proven first.
    if !checksum_path(path).exists() && !verify(&bundle, false, output).await?.holds() {
        let message = format!("{} is damaged, and has no .sha256 beside it", path.display());
        let hint = "`compass verify` says what is damaged: copy or download the bundle again";
        return Err(Failure::not_right(message).hint(hint));
    }
    let bar = output.bar("publish");
    let published = store.publish(path, bundle.document(), bar.shared()).await;
    bar.done();
    Ok(published?)
}
