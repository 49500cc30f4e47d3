use std::path::{Path, PathBuf};
use std::process::ExitCode;

use compass_bundle::{Bundle, Published};
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::cli::Global;
use crate::failure::Failure;
use crate::output::Output;
use crate::repository::Repository;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle
    bundle: PathBuf,
    /// The store, as `file:///path`; otherwise the policy's
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
    let published = publish(&args.bundle, &directory(&store)?, output).await?;
    output.result(
        || {
            json!({
                "url": format!("file://{}", published.path.display()),
                "sha256": published.digest.hex(),
                "present": published.present,
            })
        },
        || {
            let present = if published.present { " (was there already)" } else { "" };
            format!("file://{}{present}\n", published.path.display())
        },
    );
    Ok(ExitCode::SUCCESS)
}

/// Puts a bundle into a store.
pub(crate) async fn publish(
    path: &Path,
    store: &Path,
    output: &Output,
) -> Result<Published, Failure> {
    let bundle = Bundle::open(path).await?;
    let bar = output.bar("publish");
    let (progress, path, store) = (bar.shared(), path.to_owned(), store.to_owned());
    let published = spawn_blocking(move || {
        compass_bundle::publish(&path, bundle.document(), &store, &*progress)
    });
    let published = published.await?;
    bar.done();
    Ok(published?)
}

/// The directory of a `file://` store.
fn directory(store: &str) -> Result<PathBuf, Failure> {
    match store.strip_prefix("file://") {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        Some(path) => Err(Failure::usage(format!("`file://{path}` is not an absolute path"))
            .hint("write three slashes: `file:///path`")),
        None => {
            Err(Failure::usage(format!("`{store}` is not a store this version can publish to"))
                .hint("publish to a directory with `--to file:///path`"))
        }
    }
}
