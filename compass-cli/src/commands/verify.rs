//! `compass verify`.

use std::process::ExitCode;
use std::sync::Arc;

use compass_bundle::store::{open_source, redact_url};
use compass_bundle::{Bundle, Damage, Package, VerifyOptions, VerifyReport, verify_unreadable};
use compass_registry::Digest;
use serde_json::{Value, json};

use crate::display::{human_bytes, printable};
use crate::error::{CliError, Result};
use crate::global_args::GlobalArgs;
use crate::image_usage::{ImageUsage, referenced_images};
use crate::output::Output;
use crate::package_verification::verify_package;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Bundles or other image packages: paths, or http, https, s3 or oss URLs
    #[arg(required = true, value_name = "BUNDLE")]
    bundles: Vec<String>,
    /// Verifies names, sizes, manifests and YAML, but reads no layers
    #[arg(long)]
    quick: bool,
}

/// The result for a bundle or another package.
struct Verification {
    verified: VerifyReport,
    usage: ImageUsage,
    /// The digest of a bundle; `None` for foreign packages and files that cannot be opened.
    digest: Option<Digest>,
}

impl Verification {
    fn is_ok(&self) -> bool {
        self.verified.is_ok() && self.usage.missing.is_empty()
    }

    fn exit(&self) -> u8 {
        if self.is_ok() { 0 } else { CliError::CHECK_FAILED }
    }

    /// Prints a hint if the file is damaged.
    fn print_hint(&self, output: &Output) {
        if !self.verified.damages.is_empty() {
            output.status("help: copy or download the bundle again, or package it again");
        }
    }

    /// The location of an issue. The structure of a foreign package has no named parts.
    fn location(&self, damage: &Damage) -> String {
        let is_whole = damage.file.is_none() && damage.image.is_none() && damage.blob.is_none();
        match damage.range.end {
            _ if !is_whole || self.digest.is_some() => damage.location(),
            0 => "the file".to_owned(),
            end => format!("the file, bytes {}-{}", damage.range.start, end - 1),
        }
    }
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    if let [address] = &args.bundles[..] {
        let verification = verify_address(address, args.quick, global, output).await?;
        let name = redact_url(address);
        output.result(|| to_json(&name, &verification), || to_text(&name, &verification));
        verification.print_hint(output);
        return Ok(verification.exit().into());
    }
    verify_each(args, global, output).await
}

/// Verifies several bundles, also after one of them failed; the highest exit code counts.
async fn verify_each(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let (mut results, mut highest) = (Vec::new(), 0);
    for address in &args.bundles {
        let name = redact_url(address);
        let exit = match verify_address(address, args.quick, global, output).await {
            Ok(verification) => {
                output.partial_result(|| to_text(&name, &verification));
                verification.print_hint(output);
                results.push(to_json(&name, &verification));
                verification.exit()
            }
            Err(error) => {
                output.error(&error);
                let json = error.to_json()["error"].take();
                results.push(json!({"bundle": name, "holds": false, "error": json}));
                error.exit
            }
        };
        highest = exit.max(highest);
    }
    let verified = results.iter().filter(|result| result["holds"] == true).count();
    let text = format!("{verified} of {} verified\n", results.len());
    output.result(|| json!({"holds": highest == 0, "bundles": results}), || text);
    Ok(highest.into())
}

/// Verifies the bundle or package at an address.
async fn verify_address(
    address: &str,
    quick: bool,
    global: &GlobalArgs,
    output: &Output,
) -> Result<Verification> {
    let source = open_source(address, &global.retry_policy()).await?;
    match Package::read(Arc::clone(&source)).await {
        Ok(package) => {
            let verified = verify_package(&package, quick, output).await?;
            let notes = package.notes().into_iter().chain(package.unavailable_layers());
            notes.for_each(|note| output.warn(&note));
            let usage = referenced_images(&package).await;
            let digest = package.as_bundle().map(Bundle::digest);
            Ok(Verification { verified, usage, digest })
        }
        Err(error) => {
            let progress = output.progress("verify");
            let options = VerifyOptions::default().quick(quick).progress(progress.shared());
            let verified = verify_unreadable(source, &error, &options).await?;
            let Some(verified) = verified else { return Err(error.into()) };
            Ok(Verification { verified, usage: ImageUsage::default(), digest: None })
        }
    }
}

fn to_json(name: &str, verification: &Verification) -> Value {
    let Verification { verified, usage: ImageUsage { missing, unread }, .. } = verification;
    let missing = missing.iter().map(|(file, image)| json!({"file": file, "image": image}));
    let unread = unread.iter().map(|(file, reason)| json!({"file": file, "reason": reason}));
    json!({
        "bundle": name,
        "size": verified.size,
        "digest": verification.digest,
        "sha256": verified.digest.map(|digest| digest.hex()),
        "checksum": verified.checksum,
        "holds": verification.is_ok(),
        "damages": verified.damages,
        "missing": missing.collect::<Vec<_>>(),
        "unread": unread.collect::<Vec<_>>(),
    })
}

fn to_text(name: &str, verification: &Verification) -> String {
    let Verification { verified, usage: ImageUsage { missing, unread }, .. } = verification;
    let mut text = String::new();
    for damage in &verified.damages {
        let (location, what) = (printable(&verification.location(damage)), printable(&damage.what));
        text.push_str(&format!("damaged: {location}: {what}\n"));
    }
    for (file, image) in missing {
        let (file, image) = (printable(file), printable(image));
        text.push_str(&format!("missing: {file} names {image}, which is not in the bundle\n"));
    }
    for (file, reason) in unread {
        let (file, reason) = (printable(file), printable(reason));
        text.push_str(&format!("unread: {file}, {reason}; the images it names are unknown\n"));
    }
    let result = if verification.is_ok() { "verified" } else { "NOT verified" };
    let mut size = human_bytes(verified.size);
    if let Some(digest) = verification.digest {
        size.push_str(&format!(", digest {digest}"));
    }
    let Some(digest) = verified.digest.map(|digest| digest.hex()) else {
        return text + &format!("{name}: {result}, {size}, structure only\n");
    };
    let checksum = match verified.checksum {
        Some(true) => "matches its .sha256 file",
        Some(false) => "does NOT match its .sha256 file",
        None => "no .sha256 file to compare with",
    };
    text + &format!("{name}: {result}, {size}, sha256 {digest}, {checksum}\n")
}
