use std::process::ExitCode;
use std::sync::Arc;

use compass_bundle::document::FILE_NAME;
use compass_bundle::store::{open_source, without_secrets};
use compass_bundle::{
    Bundle, BundleSource, Damage, Opened, Package, Verified, VerifyOptions, unlike_bundle,
    verify_unopened,
};
use serde_json::{Value, json};

use crate::cli::Global;
use crate::failure::Failure;
use crate::opened::{Named, named_by};
use crate::output::{Output, bytes, printable};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle, or a package of any making: a path, or a URL with `http`, `https`, `s3`, `oss`
    bundle: String,
    /// Looks at the structure only: names, sizes, manifests and YAML, and no layer
    #[arg(long)]
    quick: bool,
}

/// What a proof found, in the form that both kinds of packages share.
struct Proof {
    verified: Verified,
    named: Named,
}

impl Proof {
    fn holds(&self) -> bool {
        self.verified.holds() && self.named.missing.is_empty()
    }
}

pub(crate) async fn run(
    args: &Args,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let source = open_source(&args.bundle, &global.retry()).await?;
    let proof = match Opened::read(Arc::clone(&source)).await {
        Ok(Opened::Bundle(bundle)) => {
            let verified = verify(&bundle, args.quick, output).await?;
            Proof { verified, named: named_by(&Opened::Bundle(bundle)).await }
        }
        Ok(Opened::Package(package)) => of_package(&package, &source, output).await?,
        Err(error) => {
            let bar = output.bar("verify");
            let options =
                VerifyOptions { quick: args.quick, progress: bar.shared(), ..Default::default() };
            let verified = verify_unopened(source, &error, &options).await;
            bar.done();
            let Some(verified) = verified? else { return Err(error.into()) };
            Proof { verified, named: Named::default() }
        }
    };
    let name = without_secrets(&args.bundle);
    output.result(|| to_json(&name, &proof), || to_text(&name, &proof));
    if !proof.verified.damages.is_empty() {
        output.note("help: copy or download the bundle again, or package it again");
    }
    Ok(if proof.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Proves a bundle.
pub(crate) async fn verify(
    bundle: &Bundle,
    quick: bool,
    output: &Output,
) -> Result<Verified, Failure> {
    let bar = output.bar("verify");
    let options = VerifyOptions { quick, progress: bar.shared(), ..VerifyOptions::default() };
    let verified = bundle.verify(&options).await;
    bar.done();
    Ok(verified?)
}

/// Where content was not what it should be: whether that is the bundle's fault.
pub(crate) async fn require_undamaged(
    bundle: &Bundle,
    error: &compass_bundle::Error,
    output: &Output,
) -> Result<(), Failure> {
    if !matches!(error, compass_bundle::Error::Registry(error) if error.is_mismatch()) {
        return Ok(());
    }
    let verified = verify(bundle, false, output).await?;
    let Some(damage) = verified.damages.first() else { return Ok(()) };
    let (name, range, what) = (bundle.name(), &damage.range, &damage.what);
    let message = format!("{name} is damaged at bytes {}..{}: {what}", range.start, range.end);
    let hint = "`compass verify` says all that is damaged: copy or download the bundle again";
    Err(Failure::not_right(message).hint(hint))
}

/// Whether this is the document that bundles begin with.
fn is_document(path: &str) -> bool {
    matches!(path.split('/').collect::<Vec<_>>()[..], [_, FILE_NAME])
}

/// A package has been read whole when it is open; its problems are known.
async fn of_package(
    package: &Package,
    source: &Arc<dyn BundleSource>,
    output: &Output,
) -> Result<Proof, Failure> {
    let mut damages = Vec::new();
    for problem in package.problems() {
        let is_document =
            problem.image.is_none() && problem.file.as_deref().is_some_and(is_document);
        damages.push(Damage {
            range: match is_document {
                true => unlike_bundle(source).await?,
                false => 0..package.size(),
            },
            file: problem.file,
            image: problem.image,
            blob: None,
            what: problem.what,
        });
    }
    package.notes().iter().chain(&package.unavailable_layers()).for_each(|note| output.warn(note));
    let named = named_by(&Opened::Package(package.clone())).await;
    let (size, digest) = (package.size(), package.digest());
    let mut verified = Verified { size, digest, checksum: None, damages };
    verified.compare_checksum(&**source).await?;
    Ok(Proof { verified, named })
}

fn to_json(path: &str, proof: &Proof) -> Value {
    let Proof { verified, named: Named { missing, unread } } = proof;
    let missing = missing.iter().map(|(file, image)| json!({"file": file, "image": image}));
    let unread = unread.iter().map(|(file, reason)| json!({"file": file, "reason": reason}));
    json!({
        "bundle": path,
        "size": verified.size,
        "sha256": verified.digest.map(|digest| digest.hex()),
        "checksum": verified.checksum,
        "holds": proof.holds(),
        "damages": verified.damages,
        "missing": missing.collect::<Vec<_>>(),
        "unread": unread.collect::<Vec<_>>(),
    })
}

fn to_text(path: &str, proof: &Proof) -> String {
    let Proof { verified, named: Named { missing, unread } } = proof;
    let mut text = String::new();
    for damage in &verified.damages {
        let (place, what) = (printable(&damage.place()), printable(&damage.what));
        text.push_str(&format!("damaged: {place}: {what}\n"));
    }
    for (file, image) in missing {
        let (file, image) = (printable(file), printable(image));
        text.push_str(&format!("missing: {file} names {image}, which is not in the bundle\n"));
    }
    for (file, reason) in unread {
        let (file, reason) = (printable(file), printable(reason));
        text.push_str(&format!("unread: {file}, {reason}; which images it names is not known\n"));
    }
    let word = if proof.holds() { "verified" } else { "NOT verified" };
    let size = bytes(verified.size);
    let Some(digest) = verified.digest.map(|digest| digest.hex()) else {
        return text + &format!("{path}: {word}, {size}, the structure only\n");
    };
    let checksum = match verified.checksum {
        Some(true) => "as its .sha256 says",
        Some(false) => "and NOT what its .sha256 says",
        None => "without a .sha256 to compare with",
    };
    text + &format!("{path}: {word}, {size}, sha256 {digest}, {checksum}\n")
}
