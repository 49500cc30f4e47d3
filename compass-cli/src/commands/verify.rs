use std::path::{Path, PathBuf};
use std::process::ExitCode;

use compass_bundle::Verified;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::inspect::open;
use crate::failure::Failure;
use crate::output::{Output, bytes};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle
    bundle: PathBuf,
}

pub(crate) async fn run(args: &Args, output: &Output) -> Result<ExitCode, Failure> {
    let verified = verify(&args.bundle, output).await?;
    output.result(|| to_json(&args.bundle, &verified), || to_text(&args.bundle, &verified));
    Ok(if verified.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Proves a bundle.
pub(crate) async fn verify(path: &Path, output: &Output) -> Result<Verified, Failure> {
    let bundle = open(path).await?;
    let bar = output.bar("verify");
    let progress = bar.shared();
    let verified = spawn_blocking(move || bundle.verify(&*progress)).await?;
    bar.done();
    Ok(verified?)
}

fn to_json(path: &Path, verified: &Verified) -> Value {
    json!({
        "bundle": path,
        "size": verified.size,
        "sha256": verified.digest.hex(),
        "checksum": verified.checksum,
        "holds": verified.holds(),
        "damages": verified.damages,
    })
}

fn to_text(path: &Path, verified: &Verified) -> String {
    let mut text = String::new();
    for damage in &verified.damages {
        text.push_str(&format!("damaged: {}: {}\n", damage.place(), damage.what));
    }
    let checksum = match verified.checksum {
        Some(true) => "as its .sha256 says",
        Some(false) => "and NOT what its .sha256 says",
        None => "without a .sha256 to compare with",
    };
    let word = if verified.holds() { "verified" } else { "NOT verified" };
    let digest = verified.digest.hex();
    text + &format!(
        "{}: {word}, {}, sha256 {digest}, {checksum}\n",
        path.display(),
        bytes(verified.size)
    )
}
