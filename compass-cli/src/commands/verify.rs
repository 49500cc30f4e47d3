use std::path::{Path, PathBuf};
use std::process::ExitCode;

use compass_bundle::{Bundle, Verified, VerifyOptions};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Output, bytes};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle
    bundle: PathBuf,
    /// Looks at the structure only: names, sizes, manifests and YAML, and no layer
    #[arg(long)]
    quick: bool,
}

pub(crate) async fn run(args: &Args, output: &Output) -> Result<ExitCode, Failure> {
    let verified = verify(&args.bundle, args.quick, output).await?;
    output.result(|| to_json(&args.bundle, &verified), || to_text(&args.bundle, &verified));
    Ok(if verified.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Proves a bundle.
pub(crate) async fn verify(path: &Path, quick: bool, output: &Output) -> Result<Verified, Failure> {
    let bundle = Bundle::open(path).await?;
    let bar = output.bar("verify");
    let options = VerifyOptions { quick, progress: bar.shared(), ..VerifyOptions::default() };
    let verified = bundle.verify(&options).await;
    bar.done();
    Ok(verified?)
}

fn to_json(path: &Path, verified: &Verified) -> Value {
    json!({
        "bundle": path,
        "size": verified.size,
        "sha256": verified.digest.map(|digest| digest.hex()),
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
    let Some(digest) = verified.digest.map(|digest| digest.hex()) else {
        let path = path.display();
        let word = if verified.holds() { "the structure is right" } else { "NOT right" };
        return text + &format!("{path}: {word}, layers were not read\n");
    };
    text + &format!(
        "{}: {word}, {}, sha256 {digest}, {checksum}\n",
        path.display(),
        bytes(verified.size)
    )
}
