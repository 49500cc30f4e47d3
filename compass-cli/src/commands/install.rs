use std::process::ExitCode;

use compass_bundle::store::redact_url;
use compass_bundle::{Installed, Package, install, install_package};
use compass_registry::{CopyOptions, RegistryPrefix};
use serde_json::{Value, json};

use super::verify::require_undamaged;
use crate::cli::Global;
use crate::error::CliError;
use crate::existing_tag::{self, ExistingTagArgs};
use crate::image_usage::{open, referenced_images};
use crate::output::{Output, bytes, printable};
use crate::registries::Registries;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle, or a package of any making: a path, or a URL with `http`, `https`, `s3`, `oss`
    bundle: String,
    /// The site's registry, as `HOST[/PROJECT]`; without a project images keep theirs
    #[arg(long, value_name = "PLACE")]
    registry: RegistryPrefix,
    /// Speaks with the registry without TLS
    #[arg(long)]
    plain_http: bool,
    #[command(flatten)]
    existing_tag: ExistingTagArgs,
}

pub(crate) async fn run(
    args: &Args,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, CliError> {
    let opened = open(&args.bundle, global).await?;
    let registries = Registries::at_site(global)?;
    let client = registries.client(&args.registry.host, args.plain_http)?;
    let name = redact_url(&args.bundle);
    let bar = output.bar("install");
    bar.expect_images(match &opened {
        Package::Bundle(bundle) => bundle.images().len(),
        Package::Foreign(package) => package.images().len(),
    });
    let options = CopyOptions {
        jobs: global.jobs.into(),
        on_existing_tag: args.existing_tag.choice(),
        progress: bar.shared(),
        ..CopyOptions::default()
    };
    let place = &args.registry;
    let installed = match &opened {
        Package::Bundle(bundle) => install(bundle, &client, place, &options).await,
        Package::Foreign(package) => install_package(package, &client, place, &options).await,
    };
    bar.done();
    if let (Err(error), Package::Bundle(bundle)) = (&installed, &opened) {
        require_undamaged(bundle, error, output).await?;
    }
    let installed = installed
        .map_err(existing_tag::of_bundle)
        .map_err(|failure| failure.context(format!("cannot install {name}")))?;
    for warning in warnings(&opened, &installed).await {
        output.warn(&warning);
    }
    report(&opened, &installed, output);
    Ok(ExitCode::SUCCESS)
}

fn report(opened: &Package, installed: &[Installed], output: &Output) {
    let others = others(opened);
    if let Some(text) = others_text(&others) {
        output.status(&text);
    }
    output.result(
        || {
            let images: Vec<_> = installed.iter().map(installed_json).collect();
            json!({"images": images, "files": others})
        },
        || installed.iter().map(line).collect(),
    );
}

/// The files of a package of other tools that are not images, and are not installed.
fn others(opened: &Package) -> Vec<&str> {
    match opened {
        Package::Bundle(_) => Vec::new(),
        Package::Foreign(package) => {
            package.files().iter().map(|file| file.path.as_str()).collect()
        }
    }
}

/// Files that are named at most.
const FEW: usize = 3;

fn others_text(files: &[&str]) -> Option<String> {
    let named: Vec<_> = files.iter().take(FEW).map(|file| printable(file)).collect();
    let named = named.join(", ");
    match files.len().saturating_sub(FEW) {
        _ if files.is_empty() => None,
        0 => Some(format!("not images, and not installed: {named}")),
        more => Some(format!("not images, and not installed: {named}, and {more} more")),
    }
}

/// What a person should know of what was installed.
async fn warnings(opened: &Package, installed: &[Installed]) -> Vec<String> {
    let replaced = installed.iter().filter_map(|one| {
        let old = one.copied.replaced_digest?;
        Some(format!("{} was {old}: its tag is moved", one.reference))
    });
    let unavailable = installed.iter().flat_map(|one| {
        let layers = one.copied.unavailable.iter();
        layers.map(|layer| {
            format!(
                "{}: its non-distributable layer {layer} is in neither the package nor the \
                 registry; it runs only where that layer can be fetched from its owner",
                one.reference
            )
        })
    });
    let missing = referenced_images(opened).await.missing.into_iter();
    let missing =
        missing.map(|(file, image)| format!("{file} names {image}, which is not in the bundle"));
    let notes = match opened {
        Package::Bundle(_) => Vec::new(),
        Package::Foreign(package) => package.notes(),
    };
    replaced.chain(unavailable).chain(notes).chain(missing).collect()
}

fn line(installed: &Installed) -> String {
    let copied = &installed.copied;
    if let Some(not_copied) = copied.not_copied {
        let kept = copied.digest;
        return format!("{} {kept} (kept; not copied: {not_copied})\n", installed.reference);
    }
    let reduced = if copied.platform_subset { ", the platforms of the bundle only" } else { "" };
    let moved = bytes(copied.bytes);
    format!("{} {} ({moved} moved{reduced})\n", installed.reference, copied.digest)
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
