//! The output of `compass install`.

use compass_manifest::diff::differences;
use compass_manifest::yaml;
use serde_json::{Value, json};

use super::installation::{ImageOutcome, Installation, Site};
use super::preflight::Plan;
use crate::display::{human_bytes, printable};
use crate::error::Result;
use crate::image_usage::referenced_images;
use crate::output::Output;
use crate::site::hand_over::Release;
use crate::site::manifests::RenderedFile;
use crate::site::receipts::Receipt;

/// The maximum number of names in one message.
const MAX_NAMED: usize = 3;

/// Prints the warnings about the packages.
pub(super) async fn warn(installations: &[Installation], output: &Output) {
    for installation in installations {
        for warning in warnings(installation).await {
            output.warn(&warning);
        }
        for name in installation.values.unused(&installation.variables) {
            output.warn(&format!("no file of {} uses the variable `{name}`", installation.shown));
        }
    }
}

async fn warnings(installation: &Installation) -> Vec<String> {
    let package = &installation.package;
    let done = || {
        let images = installation.images.iter();
        images.filter_map(|image| Some((&image.reference, image.result.as_ref().ok()?)))
    };
    let replaced = done().filter_map(|(reference, report)| {
        Some(format!("{reference}: the tag was moved from {}", report.replaced_digest?))
    });
    let unavailable = done().flat_map(|(reference, report)| {
        report.unavailable.iter().map(move |layer| {
            format!(
                "{reference}: neither the package nor the registry has its non-distributable layer \
                 {layer}; a host must fetch that layer from its owner to run the image"
            )
        })
    });
    let missing = referenced_images(package).await.missing.into_iter();
    let missing =
        missing.map(|(file, image)| format!("{file} names {image}, which is not in the bundle"));
    replaced.chain(unavailable).chain(package.notes()).chain(missing).collect()
}

/// Prints the results, and the steps that compass did not do.
pub(super) fn print(installations: &[Installation], site: &Site, output: &Output) {
    output.result(
        || {
            let all = installations.iter();
            let images: Vec<_> = all.clone().flat_map(images_json).collect();
            let files: Vec<_> = all.clone().flat_map(other_files).collect();
            let left: Vec<_> = all.clone().flat_map(|one| left_to_do(one, site)).collect();
            let packages: Vec<_> = all.map(package_json).collect();
            json!({"images": images, "files": files, "packages": packages, "leftToDo": left})
        },
        || installations.iter().map(|installation| text(installation, site)).collect(),
    );
    for text in installations.iter().flat_map(|installation| left_to_do(installation, site)) {
        output.status(&text);
    }
}

fn text(installation: &Installation, site: &Site) -> String {
    let images: String = installation.images.iter().map(image_line).collect();
    let files = match installation.handed_over.as_slice() {
        [] => String::new(),
        files => handed_over(files, installation.identity.release(), site),
    };
    let receipt = installation.receipt.as_ref();
    let receipt = receipt.map(|path| format!("receipt: {}\n", path.display()));
    images + &files + &receipt.unwrap_or_default()
}

/// Describes the files that were handed over, and their directory.
pub(super) fn handed_over(files: &[String], release: Release<'_>, site: &Site) -> String {
    let files: Vec<_> = files.iter().map(|file| printable(file)).collect();
    let directory = site.hand_over.as_ref().and_then(|hand_over| hand_over.directory_of(release));
    let place = directory.map(|directory| format!(" to {}", directory.display()));
    format!("handed over{}: {}\n", place.unwrap_or_default(), files.join(", "))
}

fn image_line(image: &ImageOutcome) -> String {
    let Ok(copied) = &image.result else {
        return format!("{} was not pushed\n", image.reference);
    };
    if let Some(not_copied) = copied.not_copied {
        let kept = copied.digest;
        return format!("{} {kept} (kept; not copied: {not_copied})\n", image.reference);
    }
    let reduced = if copied.platform_subset { ", only the platforms of the bundle" } else { "" };
    let size = human_bytes(copied.bytes);
    format!("{} {} ({size} copied{reduced})\n", image.reference, copied.digest)
}

fn images_json(installation: &Installation) -> Vec<Value> {
    let images = installation.images.iter();
    images.map(image_json).collect()
}

fn image_json(image: &ImageOutcome) -> Value {
    match &image.result {
        Ok(copied) => json!({
            "site": image.reference.to_string(),
            "digest": copied.digest,
            "blobs": copied.blobs,
            "bytes": copied.bytes,
            "present": copied.present_bytes,
            "replaced": copied.replaced_digest,
            "notCopied": copied.not_copied,
        }),
        Err(error) => {
            json!({"site": image.reference.to_string(), "error": error.to_json()["error"]})
        }
    }
}

fn package_json(installation: &Installation) -> Value {
    json!({
        "package": installation.shown,
        "kind": installation.identity.kind,
        "name": installation.identity.name,
        "version": installation.identity.version,
        "handedOver": installation.handed_over,
        "receipt": installation.receipt,
        "error": installation.failure.as_ref().map(|error| error.to_json()["error"].clone()),
    })
}

/// Returns the files of a foreign package that are not images, and are not installed.
fn other_files(installation: &Installation) -> Vec<String> {
    if installation.package.as_bundle().is_some() {
        return Vec::new();
    }
    let files = installation.package.files().into_iter().map(|file| file.path);
    files.filter(|path| !installation.handed_over.contains(path)).collect()
}

/// Describes the steps that compass did not do.
fn left_to_do(installation: &Installation, site: &Site) -> Vec<String> {
    let mut left = Vec::new();
    if installation.failure.is_some() {
        return left;
    }
    let others = other_files(installation);
    if !others.is_empty() {
        left.push(format!("not installed, because they are not images: {}", named(&others)));
    }
    let manifests: Vec<_> =
        installation.manifests.files.iter().map(|file| file.path().to_owned()).collect();
    if site.hand_over.is_none() && !manifests.is_empty() && others.is_empty() {
        left.push(format!(
            "left to do: hand over {} (`--output`, `--apply` or `--plugin-center`)",
            named(&manifests)
        ));
    }
    left
}

fn named(files: &[String]) -> String {
    let shown: Vec<_> = files.iter().take(MAX_NAMED).map(|file| printable(file)).collect();
    let shown = shown.join(", ");
    match files.len().saturating_sub(MAX_NAMED) {
        0 => shown,
        more => format!("{shown}, and {more} more"),
    }
}

/// Prints the plan of a dry run.
pub(super) fn print_plan(
    installations: &[Installation],
    plans: &[Plan],
    site: &Site,
    output: &Output,
) -> Result<()> {
    let mut changes = Vec::new();
    for (installation, plan) in installations.iter().zip(plans) {
        changes.push(match &site.hand_over {
            Some(_) => package_changes(installation.identity.release(), &plan.files, site)?,
            None => Vec::new(),
        });
    }
    let all = || installations.iter().zip(plans).zip(&changes);
    output.result(
        || {
            let images: Vec<_> =
                plans.iter().flat_map(|plan| plan.images.iter().map(image_json)).collect();
            let packages = all().map(|((installation, _), changes)| {
                let mut package = package_json(installation);
                package["changes"] = json!(changes);
                package
            });
            json!({"dryRun": true, "images": images, "packages": packages.collect::<Vec<_>>()})
        },
        || {
            let lines = all().map(|((installation, plan), changes)| {
                let images: String = plan.images.iter().map(plan_line).collect();
                let changes: String = changes.iter().map(|line| format!("  {line}\n")).collect();
                format!("{}:\n{images}{changes}", installation.shown)
            });
            lines.collect()
        },
    );
    Ok(())
}

fn plan_line(image: &ImageOutcome) -> String {
    let Ok(report) = &image.result else { return String::new() };
    let what = match (report.not_copied, report.already_present) {
        (Some(other), _) => format!("kept; not copied: {other}"),
        (None, true) => "present".to_owned(),
        (None, false) => {
            let moved = report.replaced_digest.map(|old| format!(", moves the tag from {old}"));
            format!("{} to copy{}", human_bytes(report.bytes), moved.unwrap_or_default())
        }
    };
    format!("  {} ({what})\n", image.reference)
}

/// Returns the differences between a package and the current installation.
fn package_changes(
    release: Release<'_>,
    files: &[RenderedFile],
    site: &Site,
) -> Result<Vec<String>> {
    let Release { kind, name, version } = release;
    let current = site.receipts.latest(kind, name)?;
    let mut changes = match &current {
        Some(receipt) => vec![format!("version {} -> {version}", receipt.version)],
        None => vec![format!("new: {kind} {name}")],
    };
    changes.extend(changed_files(current.as_ref(), files));
    Ok(changes)
}

/// Returns the differences between the files to hand over and those of the current receipt.
pub(super) fn changed_files(current: Option<&Receipt>, files: &[RenderedFile]) -> Vec<String> {
    let mut changes = Vec::new();
    for file in files {
        let old = current.and_then(|receipt| content_of(receipt, &file.path));
        match old {
            None => changes.push(format!("{}: new file", printable(&file.path))),
            Some(old) => changes.extend(file_changes(&file.path, old, &file.public)),
        }
    }
    let removed = current.iter().flat_map(|receipt| &receipt.files);
    let removed = removed.filter(|old| files.iter().all(|file| file.path != old.path));
    changes.extend(removed.map(|old| format!("{}: removed", printable(&old.path))));
    changes
}

fn content_of<'r>(receipt: &'r Receipt, path: &str) -> Option<&'r str> {
    receipt.files.iter().find(|file| file.path == path).map(|file| file.content.as_str())
}

fn file_changes(path: &str, old: &str, new: &str) -> Vec<String> {
    let (Ok(old_root), Ok(new_root)) = (yaml::parse(old), yaml::parse(new)) else {
        return vec![format!("{}: changed", printable(path))];
    };
    let found = differences(&old_root, &new_root);
    if found.is_empty() && old != new {
        return vec![format!("{}: only comments or spaces differ", printable(path))];
    }
    let lines = found.into_iter().map(|one| {
        let side = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
        format!(
            "{}: {}: {} -> {}",
            printable(path),
            printable(&one.path),
            side(one.old),
            side(one.new)
        )
    });
    lines.collect()
}
