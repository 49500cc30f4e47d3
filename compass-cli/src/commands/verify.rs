use std::process::ExitCode;
use std::sync::Arc;

use compass_bundle::document::FILE_NAME;
use compass_bundle::store::{open_source, redact_url};
use compass_bundle::{
    Bundle, BundleSource, Damage, ForeignPackage, Package, Verified, VerifyOptions, mismatch_range,
    verify_unreadable,
};
use serde_json::{Value, json};

use crate::cli::Global;
use crate::error::{CHECK_FAILED, CliError};
use crate::image_usage::{ImageUsage, referenced_images};
use crate::output::{Output, bytes, printable};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Bundles, or packages of any making: paths, or URLs with `http`, `https`, `s3`, `oss`
    #[arg(required = true, value_name = "BUNDLE")]
    bundles: Vec<String>,
    /// Looks at the structure only: names, sizes, manifests and YAML, and no layer
    #[arg(long)]
    quick: bool,
}

/// What a proof found, in the form that both kinds of packages share.
struct Proof {
    verified: Verified,
    named: ImageUsage,
    /// Whether it is a bundle, of which every byte is known.
    is_bundle: bool,
}

impl Proof {
    fn holds(&self) -> bool {
        self.verified.holds() && self.named.missing.is_empty()
    }

    fn exit(&self) -> u8 {
        if self.holds() { 0 } else { CHECK_FAILED }
    }

    /// Prints a hint if something is damaged.
    fn help(&self, output: &Output) {
        if !self.verified.damages.is_empty() {
            output.status("help: copy or download the bundle again, or package it again");
        }
    }

    /// The location of damage. The structure of a package of other tools has no parts that can be named.
    fn place(&self, damage: &Damage) -> String {
        let is_whole = damage.file.is_none() && damage.image.is_none() && damage.blob.is_none();
        match damage.range.end {
            _ if !is_whole || self.is_bundle => damage.place(),
            0 => "the file".to_owned(),
            end => format!("the file, bytes {}-{}", damage.range.start, end - 1),
        }
    }
}

pub(crate) async fn run(
    args: &Args,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, CliError> {
    if let [address] = &args.bundles[..] {
        let proof = prove(address, args.quick, global, output).await?;
        let name = redact_url(address);
        output.result(|| to_json(&name, &proof), || to_text(&name, &proof));
        proof.help(output);
        return Ok(proof.exit().into());
    }
    several(args, global, output).await
}

/// Verifies several bundles, also after one of them failed. The exit code is the worst of theirs.
async fn several(args: &Args, global: &Global, output: &Output) -> Result<ExitCode, CliError> {
    let (mut results, mut worst) = (Vec::new(), 0);
    for address in &args.bundles {
        let name = redact_url(address);
        let exit = match prove(address, args.quick, global, output).await {
            Ok(proof) => {
                output.partial_result(|| to_text(&name, &proof));
                proof.help(output);
                results.push(to_json(&name, &proof));
                proof.exit()
            }
            Err(failure) => {
                output.error(&failure);
                let error = failure.to_json()["error"].take();
                results.push(json!({"bundle": name, "holds": false, "error": error}));
                failure.exit
            }
        };
        worst = exit.max(worst);
    }
    let verified = results.iter().filter(|result| result["holds"] == true).count();
    let text = format!("{verified} of {} verified\n", results.len());
    output.result(|| json!({"holds": worst == 0, "bundles": results}), || text);
    Ok(worst.into())
}

/// Verifies the bundle or package at an address.
async fn prove(
    address: &str,
    quick: bool,
    global: &Global,
    output: &Output,
) -> Result<Proof, CliError> {
    let source = open_source(address, &global.retry()).await?;
    Ok(match Package::read(Arc::clone(&source)).await {
        Ok(Package::Bundle(bundle)) => {
            let verified = verify(&bundle, quick, output).await?;
            let named = referenced_images(&Package::Bundle(bundle)).await;
            Proof { verified, named, is_bundle: true }
        }
        Ok(Package::Foreign(package)) => of_package(&package, &source, output).await?,
        Err(error) => {
            let bar = output.bar("verify");
            let options = VerifyOptions { quick, progress: bar.shared(), ..Default::default() };
            let verified = verify_unreadable(source, &error, &options).await;
            bar.done();
            let Some(verified) = verified? else { return Err(error.into()) };
            let is_bundle = false;
            Proof { verified, named: ImageUsage::default(), is_bundle }
        }
    })
}

/// Proves a bundle.
pub(crate) async fn verify(
    bundle: &Bundle,
    quick: bool,
    output: &Output,
) -> Result<Verified, CliError> {
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
) -> Result<(), CliError> {
    if !matches!(error, compass_bundle::Error::Registry(error) if error.is_mismatch()) {
        return Ok(());
    }
    let verified = verify(bundle, false, output).await?;
    let Some(damage) = verified.damages.first() else { return Ok(()) };
    let (name, range, what) = (bundle.name(), &damage.range, &damage.what);
    let message = format!("{name} is damaged at bytes {}..{}: {what}", range.start, range.end);
    let hint = "`compass verify` says all that is damaged: copy or download the bundle again";
    Err(CliError::check_failed(message).hint(hint))
}

/// Whether this is the document that bundles begin with.
fn is_document(path: &str) -> bool {
    matches!(path.split('/').collect::<Vec<_>>()[..], [_, FILE_NAME])
}

/// A package has been read whole when it is open; its problems are known.
async fn of_package(
    package: &ForeignPackage,
    source: &Arc<dyn BundleSource>,
    output: &Output,
) -> Result<Proof, CliError> {
    let mut damages = Vec::new();
    for problem in package.problems() {
        let is_document =
            problem.image.is_none() && problem.file.as_deref().is_some_and(is_document);
        damages.push(Damage {
            range: match is_document {
                true => mismatch_range(source).await?,
                false => 0..package.size(),
            },
            file: problem.file,
            image: problem.image,
            blob: None,
            what: problem.what,
        });
    }
    package.notes().iter().chain(&package.unavailable_layers()).for_each(|note| output.warn(note));
    let named = referenced_images(&Package::Foreign(package.clone())).await;
    let (size, digest) = (package.size(), package.digest());
    let mut verified = Verified { size, digest, checksum: None, damages };
    verified.compare_checksum(&**source).await?;
    Ok(Proof { verified, named, is_bundle: false })
}

fn to_json(path: &str, proof: &Proof) -> Value {
    let Proof { verified, named: ImageUsage { missing, unread }, .. } = proof;
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
    let Proof { verified, named: ImageUsage { missing, unread }, .. } = proof;
    let mut text = String::new();
    for damage in &verified.damages {
        let (place, what) = (printable(&proof.place(damage)), printable(&damage.what));
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
