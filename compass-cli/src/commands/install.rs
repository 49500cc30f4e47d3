//! `compass install`.

use std::process::ExitCode;
use std::sync::Arc;

use compass_bundle::store::redact_url;
use compass_bundle::{ForeignPackage, Installed, Package, install};
use compass_registry::RegistryPrefix;
use serde_json::{Value, json};

use super::verify::check_damage;
use crate::display::{human_bytes, printable};
use crate::error::Result;
use crate::existing_tag::{self, ExistingTagArgs};
use crate::global_args::GlobalArgs;
use crate::image_usage::{open, referenced_images};
use crate::output::Output;
use crate::registries::Registries;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A bundle or any other image package: a path, or an http, https, s3 or oss URL
    bundle: String,
    /// The site's registry, as `HOST[/PROJECT]`; without a project, images keep their own
    #[arg(long, value_name = "PLACE")]
    registry: RegistryPrefix,
    /// Connects to the registry without TLS
    #[arg(long)]
    plain_http: bool,
    #[command(flatten)]
    existing_tag: ExistingTagArgs,
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let package = open(&args.bundle, global).await?;
    let registries = Registries::at_site(global)?;
    let client = registries.client(&args.registry.host, args.plain_http)?;
    let name = redact_url(&args.bundle);
    let progress = output.progress("install");
    progress.expect_images(package.images().len());
    let options =
        global.copy_options(progress.shared()).on_existing_tag(args.existing_tag.action());
    let installed = install(&package, Arc::new(client.clone()), &args.registry, &options).await;
    drop((options, progress));
    check_damage(&package, &installed, output).await?;
    let installed = installed
        .map_err(existing_tag::bundle_error)
        .map_err(|error| error.context(format!("cannot install {name}")))?;
    for warning in warnings(&package, &installed).await {
        output.warn(&warning);
    }
    report(&package, &installed, output);
    Ok(ExitCode::SUCCESS)
}

fn report(package: &Package, installed: &[Installed], output: &Output) {
    let other_files = other_files(package);
    if let Some(text) = other_files_text(&other_files) {
        output.status(&text);
    }
    output.result(
        || {
            let images: Vec<_> = installed.iter().map(installed_json).collect();
            json!({"images": images, "files": other_files})
        },
        || installed.iter().map(line).collect(),
    );
}

/// The files of a foreign package that are not images, and are not installed.
fn other_files(package: &Package) -> Vec<String> {
    let files = package.as_foreign().map(ForeignPackage::files).unwrap_or_default();
    files.iter().map(|file| file.path.clone()).collect()
}

/// The maximum number of files that the message names.
const MAX_NAMED: usize = 3;

fn other_files_text(files: &[String]) -> Option<String> {
    let named: Vec<_> = files.iter().take(MAX_NAMED).map(|file| printable(file)).collect();
    let named = named.join(", ");
    match files.len().saturating_sub(MAX_NAMED) {
        _ if files.is_empty() => None,
        0 => Some(format!("not installed, because they are not images: {named}")),
        more => {
            Some(format!("not installed, because they are not images: {named}, and {more} more"))
        }
    }
}

/// The warnings about the installed images.
async fn warnings(package: &Package, installed: &[Installed]) -> Vec<String> {
    let replaced = installed.iter().filter_map(|one| {
        let old = one.copied.replaced_digest?;
        Some(format!("{}: the tag was moved from {old}", one.reference))
    });
    let unavailable = installed.iter().flat_map(|one| {
        let layers = one.copied.unavailable.iter();
        layers.map(|layer| {
            format!(
                "{}: neither the package nor the registry has its non-distributable layer {layer}; \
                 a host must fetch that layer from its owner to run the image",
                one.reference
            )
        })
    });
    let missing = referenced_images(package).await.missing.into_iter();
    let missing =
        missing.map(|(file, image)| format!("{file} names {image}, which is not in the bundle"));
    replaced.chain(unavailable).chain(package.notes()).chain(missing).collect()
}

fn line(installed: &Installed) -> String {
    let copied = &installed.copied;
    if let Some(not_copied) = copied.not_copied {
        let kept = copied.digest;
        return format!("{} {kept} (kept; not copied: {not_copied})\n", installed.reference);
    }
    let reduced = if copied.platform_subset { ", only the platforms of the bundle" } else { "" };
    let size = human_bytes(copied.bytes);
    format!("{} {} ({size} copied{reduced})\n", installed.reference, copied.digest)
}

fn installed_json(installed: &Installed) -> Value {
    json!({
        "site": installed.reference.to_string(),
        "digest": installed.copied.digest,
        "blobs": installed.copied.blobs,
        "bytes": installed.copied.bytes,
        "present": installed.copied.present_bytes,
        "replaced": installed.copied.replaced_digest,
        "notCopied": installed.copied.not_copied,
    })
}
