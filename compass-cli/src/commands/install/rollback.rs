//! Hands over the files of the previous installation.

use std::process::ExitCode;

use compass_manifest::source::SourceFile;
use compass_registry::{ImageSource as _, Reference};
use serde_json::json;

use super::installation::Site;
use super::{Args, refused};
use crate::error::{CliError, Result};
use crate::output::Output;
use crate::site::hand_over::Release;
use crate::site::manifests::Manifests;
use crate::site::receipts::Receipt;
use crate::site::values::Values;

pub(super) async fn run(name: &str, args: &Args, site: &Site, output: &Output) -> Result<ExitCode> {
    let current = current(name, site)?;
    let (receipts, kind) = (site.receipts.clone(), current.kind.clone());
    let owned_name = current.name.clone();
    let history =
        tokio::task::spawn_blocking(move || receipts.history(&kind, &owned_name)).await??;
    let Some((_, before)) = history.previous() else {
        let message =
            format!("there is no installation before {} {name} {}", current.kind, current.version);
        return Err(CliError::usage(message).hint("`compass installed` lists the installations"));
    };
    let Some(hand_over) = &site.hand_over else {
        return Err(CliError::usage("`--rollback` needs a way to hand the files over")
            .hint("use `--apply`, `--plugin-center` or `--output`"));
    };
    check(before, site).await?;
    let files = before.files.iter();
    let manifests = Manifests {
        files: files.map(|file| SourceFile::new(&*file.path, &*file.content)).collect(),
    };
    let variables = before.secret_variables.iter().cloned().collect();
    let values = Values::resolve(&args.values, &site.registry, &site.policy, &variables)?;
    let unset = manifests.unset_variables(&values)?;
    if !unset.is_empty() {
        return Err(refused(&format!("{name} {}", before.version), unset)
            .hint("receipts contain no secrets: set them again with `--set-file`"));
    }
    let files = manifests.render(&values, &site.registry, &site.policy)?;
    let release = Release { kind: &before.kind, name: &before.name, version: &before.version };
    hand_over.check(release).await?;
    hand_over.run(release, &files, &history, output).await?;
    let receipt =
        Receipt { hand_over: Some(hand_over.to_string()), is_rollback: true, ..before.again() };
    let path = history.add(receipt)?;
    output.result(
        || {
            json!({
                "kind": before.kind,
                "name": before.name,
                "version": before.version,
                "from": current.version,
                "files": files.iter().map(|file| &file.path).collect::<Vec<_>>(),
                "receipt": path,
            })
        },
        || {
            let files: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
            format!(
                "{} {}: rolled back from {} to {}\nhanded over: {}\nreceipt: {}\n",
                before.kind,
                before.name,
                current.version,
                before.version,
                files.join(", "),
                path.display()
            )
        },
    );
    Ok(ExitCode::SUCCESS)
}

/// Returns the latest receipt of the plugin, addon or product with a name.
fn current(name: &str, site: &Site) -> Result<Receipt> {
    let installed = site.receipts.installed()?;
    let mut found = installed.into_iter().filter(|receipt| {
        receipt.name == name || format!("{}/{}", receipt.kind, receipt.name) == name
    });
    match (found.next(), found.next()) {
        (Some(receipt), None) => Ok(receipt),
        (None, _) => Err(CliError::usage(format!("there is no receipt of `{name}`"))
            .hint("`compass installed` lists the installations")),
        (Some(one), Some(two)) => {
            let message = format!("`{name}` is a {} and a {}", one.kind, two.kind);
            Err(CliError::usage(message).hint(format!("write `--rollback {}/{name}`", one.kind)))
        }
    }
}

/// Checks that an installation can be handed over again: its files are known, and its images are
/// still in the registry.
async fn check(before: &Receipt, site: &Site) -> Result<()> {
    let what = format!("{} {}", before.name, before.version);
    if before.registry != site.registry.to_string() {
        let message =
            format!("{what} was installed from {}, not from {}", before.registry, site.registry);
        return Err(CliError::usage(message).hint(format!("use `--registry {}`", before.registry)));
    }
    if before.files.is_empty() {
        let message = format!("the files of {what} were not handed over by compass");
        return Err(CliError::usage(message).hint("install its bundle again"));
    }
    let mut problems = Vec::new();
    for image in &before.images {
        let reference: Reference = image.reference.parse()?;
        match site.client.resolve(reference.repository(), &image.digest.into()).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() => {
                let message = format!("{reference} ({}) is not in the registry", image.digest);
                problems.push(CliError::check_failed(message));
            }
            Err(error) => return Err(error.into()),
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(refused(&what, problems).hint("install its bundle again")),
    }
}
