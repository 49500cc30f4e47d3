//! Hands over the files of the previous installation.

use std::path::Path;
use std::process::ExitCode;

use compass_manifest::source::SourceFile;
use compass_registry::{ImageSource as _, Reference, TagOrDigest};
use serde_json::json;

use super::installation::Site;
use super::report::{changed_files, handed_over};
use super::{Args, refused};
use crate::error::{CliError, Result};
use crate::output::Output;
use crate::site::hand_over::Release;
use crate::site::manifests::{Manifests, RenderedFile};
use crate::site::receipts::{Receipt, ReceiptImage};
use crate::site::values::Values;

pub(super) async fn run(name: &str, args: &Args, site: &Site, output: &Output) -> Result<ExitCode> {
    let Receipt { kind, name, .. } = current(name, site)?;
    let history = site.receipts.history(&kind, &name, output).await?;
    let Some(hand_over) = &site.hand_over else {
        return Err(CliError::usage("`--rollback` needs a way to hand the files over")
            .hint("use `--apply`, `--plugin-center` or `--output`"));
    };
    let from = history.current().map_or("", |receipt| receipt.version.as_str());
    let Some(before) = history.before()? else {
        let message = format!("there is no other installation before {kind} {name} {from}");
        return Err(CliError::usage(message).hint(match &*kind {
            "hotfix" => "install an earlier package of this addon, or the package of the product",
            _ => "install an earlier package of it",
        }));
    };
    check(&before, site).await?;
    let files = render(&before, args, site)?;
    let release = Release { kind: &before.kind, name: &before.name, version: &before.version };
    hand_over.check(release, &files).await?;
    if args.dry_run {
        let current = history.current();
        print_plan(release, from, &changed_files(current, &files), output);
        return Ok(ExitCode::SUCCESS);
    }
    hand_over
        .run(release, &files, &history, output)
        .await
        .map_err(|error| error.context(format!("cannot roll back {kind} {name} from {from}")))?;
    let receipt =
        Receipt { hand_over: Some(hand_over.to_string()), is_rollback: true, ..before.again() };
    let path = history.add(receipt)?;
    print(&before, from, &path, site, output);
    Ok(ExitCode::SUCCESS)
}

/// Fills the secrets into the files of a receipt.
fn render(before: &Receipt, args: &Args, site: &Site) -> Result<Vec<RenderedFile>> {
    let files = before.files.iter();
    let manifests = Manifests {
        files: files.map(|file| SourceFile::new(&*file.path, &*file.content)).collect(),
    };
    let secret = before.secret_variables.iter().cloned().collect();
    let values = Values::resolve(&args.values, &site.registry, &site.policy, &secret)?;
    let unset = manifests.unset_among(&secret, &values)?;
    if !unset.is_empty() {
        return Err(refused(&format!("{} {}", before.name, before.version), unset)
            .hint("receipts contain no secrets: set them again with `--set-file`"));
    }
    manifests.with_secrets(&secret, &values)
}

/// Prints the plan of a dry run.
fn print_plan(release: Release<'_>, from: &str, changes: &[String], output: &Output) {
    let Release { kind, name, version } = release;
    output.result(
        || {
            json!({
                "dryRun": true,
                "kind": kind,
                "name": name,
                "version": version,
                "from": from,
                "changes": changes,
            })
        },
        || {
            let changes: String = changes.iter().map(|line| format!("  {line}\n")).collect();
            format!("{kind} {name}: would roll back from {from} to {version}\n{changes}")
        },
    );
}

fn print(before: &Receipt, from: &str, receipt: &Path, site: &Site, output: &Output) {
    let Receipt { kind, name, version, .. } = before;
    let files: Vec<_> = before.files.iter().map(|file| file.path.clone()).collect();
    output.result(
        || {
            json!({
                "kind": kind,
                "name": name,
                "version": version,
                "from": from,
                "files": files,
                "receipt": receipt,
            })
        },
        || {
            let files = handed_over(&files, Release { kind, name, version }, site);
            let receipt = receipt.display();
            format!(
                "{kind} {name}: rolled back from {from} to {version}\n{files}receipt: {receipt}\n"
            )
        },
    );
}

/// Returns the latest receipt of the plugin, addon or product with a name.
fn current(name: &str, site: &Site) -> Result<Receipt> {
    let mut found = site.receipts.named(name)?.into_iter();
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
        problems.extend(missing_image(image, site).await?);
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(refused(&what, problems).hint("install its bundle again")),
    }
}

/// Returns a problem if an image is not in the registry, or its tag names another one.
async fn missing_image(image: &ReceiptImage, site: &Site) -> Result<Option<CliError>> {
    let reference: Reference = image.reference.parse()?;
    let named = match reference.tag() {
        Some(tag) if reference.digest().is_none() => TagOrDigest::from(tag.clone()),
        _ => TagOrDigest::from(image.digest),
    };
    let found = match site.client.resolve(reference.repository(), &named).await {
        Ok(found) => Some(found),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    let problem = match found {
        Some(digest) if digest == image.digest => return Ok(None),
        Some(digest) => format!("{reference} is now {digest}, and was {}", image.digest),
        None => format!("{reference} ({}) is not in the registry", image.digest),
    };
    Ok(Some(CliError::check_failed(problem)))
}
