//! What became of the images of a run, for people and for programs (`docs/sync.schema.json`).

use std::fmt::Write as _;
use std::path::Path;

use compass_registry::{CopyReport, Digest, Platform};
use serde_json::{Value, json};

use super::{Outcome, TransferResult};
use crate::error::CliError;
use crate::fs;
use crate::output::bytes;

/// What a report says that it is.
pub(super) const FORMAT: &str = "compass-sync-report-1";

/// The result of an image that did not arrive.
pub(super) const FAILED: &str = "failed";

pub(super) struct Report {
    pub(super) synced: Vec<TransferResult>,
    /// The platforms that were wanted; none where all were.
    pub(super) platforms: Vec<Platform>,
    pub(super) dry_run: bool,
    pub(super) seconds: f64,
}

#[derive(Default)]
struct Sums {
    arrived: usize,
    there: usize,
    kept: usize,
    failed: usize,
    bytes: u64,
    mounted: u64,
    retries: u64,
}

impl Report {
    pub(super) fn failures(&self) -> impl Iterator<Item = &CliError> {
        self.synced.iter().filter_map(|one| one.result.as_ref().err())
    }

    /// The failures for people: those that differ only in the image are one.
    pub(super) fn grouped_failures(&self) -> Vec<CliError> {
        let mut groups: Vec<(String, Vec<&TransferResult>)> = Vec::new();
        for one in self.synced.iter().filter(|one| one.result.is_err()) {
            let key = without_names(one);
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, group)) => group.push(one),
                None => groups.push((key, vec![one])),
            }
        }
        groups.into_iter().filter_map(|(_, group)| grouped(&group)).collect()
    }

    /// What a person should know of what was copied.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.synced.iter().flat_map(|one| {
            let (lacks, unavailable, replaced) = match &one.result {
                Ok(Outcome::Copied(copied)) => {
                    (&copied.missing_platforms[..], &copied.unavailable[..], copied.replaced_digest)
                }
                Ok(Outcome::Planned(plan)) => (&plan.missing_platforms[..], &plan.unavailable[..], plan.replaced_digest),
                Err(_) => (&[][..], &[][..], None),
            };
            let release = &one.transfer.release;
            let lacks = lacks.iter().map(move |lacked| format!("{release} is not for {lacked}"));
            let replaced = replaced.map(|old| format!("{release} was {old}: its tag is moved"));
            let unavailable = unavailable.iter().map(move |layer| {
                format!(
                    "{release}: its non-distributable layer {layer} is in neither registry; it runs \
                     only where that layer can be fetched from its owner"
                )
            });
            replaced.into_iter().chain(lacks).chain(unavailable)
        })
    }

    pub(super) fn save(&self, path: &Path) -> Result<(), CliError> {
        fs::output(path, format!("{:#}\n", self.to_json()).as_bytes())
    }

    pub(super) fn to_json(&self) -> Value {
        let sums = self.sums();
        json!({
            "format": FORMAT,
            "platforms": self.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "images": self.synced.iter().map(image_json).collect::<Vec<_>>(),
            "arrived": sums.arrived,
            "there": sums.there,
            "kept": sums.kept,
            "failed": sums.failed,
            "bytes": sums.bytes,
            "mounted": sums.mounted,
            "retries": sums.retries,
            "seconds": rounded(self.seconds),
            "warnings": self.warnings().collect::<Vec<_>>(),
        })
    }

    pub(super) fn to_text(&self) -> String {
        let mut text: String = self.synced.iter().filter_map(line).collect();
        let sums = self.sums();
        let _ = if self.dry_run {
            writeln!(
                text,
                "{} to copy with {} to move, {} there already, {} failed",
                sums.arrived,
                bytes(sums.bytes),
                sums.there,
                sums.failed
            )
        } else {
            writeln!(
                text,
                "{} copied with {} moved, {} there already, {} failed, in {:.1} s",
                sums.arrived,
                bytes(sums.bytes),
                sums.there,
                sums.failed,
                self.seconds
            )
        };
        if sums.kept > 0 {
            let _ = writeln!(text, "{} kept, though the source has others", sums.kept);
        }
        text
    }

    fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for one in &self.synced {
            sums.retries += u64::from(one.retries);
            match &one.result {
                Err(_) => sums.failed += 1,
                Ok(done) if done.not_copied().is_some() => sums.kept += 1,
                Ok(done) if done.was_there() => sums.there += 1,
                Ok(done) => {
                    sums.arrived += 1;
                    sums.bytes += done.bytes();
                    sums.mounted += done.mounted();
                }
            }
        }
        sums
    }
}

impl Outcome {
    fn was_there(&self) -> bool {
        match self {
            Self::Copied(copied) => copied.already_present,
            Self::Planned(plan) => plan.already_present,
        }
    }

    /// The image that was not copied, because the destination keeps the tag.
    pub(super) fn not_copied(&self) -> Option<Digest> {
        match self {
            Self::Copied(copied) => copied.not_copied,
            Self::Planned(plan) => plan.not_copied,
        }
    }

    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Copied(CopyReport { digest, .. }) | Self::Planned(CopyReport { digest, .. }) => {
                *digest
            }
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Copied(CopyReport { bytes, .. }) | Self::Planned(CopyReport { bytes, .. }) => {
                *bytes
            }
        }
    }

    fn mounted(&self) -> u64 {
        match self {
            Self::Copied(copied) => copied.mounted_bytes,
            Self::Planned(_) => 0,
        }
    }
}

/// Names that the failure of several images shows.
const MAX_NAMES: usize = 3;

/// A failure's text without what belongs to its image only.
fn without_names(synced: &TransferResult) -> String {
    let text = synced.result.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let transfer = &synced.transfer;
    [&transfer.source, &transfer.release].into_iter().fold(text, |text, image| {
        let (locator, repository) =
            (image.tag_or_digest().to_string(), image.repository().as_str());
        let text = text.replace(&image.to_string(), "*").replace(repository, "*");
        text.replace(&format!("/{locator}"), "/*").replace(&format!(":{locator}"), ":*")
    })
}

fn grouped(group: &[&TransferResult]) -> Option<CliError> {
    let first = group.first()?;
    let failure = first.result.as_ref().err()?;
    if group.len() == 1 {
        return Some(failure.clone());
    }
    let names = group.iter().take(MAX_NAMES).map(|one| one.transfer.release.to_string());
    let mut names = names.collect::<Vec<_>>().join(", ");
    if group.len() > MAX_NAMES {
        names += &format!(" and {} more", group.len() - MAX_NAMES);
    }
    Some(CliError {
        message: format!("cannot copy {} images: {names}", group.len()),
        ..failure.clone()
    })
}

/// The line of an image; of one that failed, the failure speaks.
fn line(synced: &TransferResult) -> Option<String> {
    let release = &synced.transfer.release;
    let done = synced.result.as_ref().ok()?;
    if let Some(not_copied) = done.not_copied() {
        return Some(format!("{release} {} (kept; not copied: {not_copied})\n", done.digest()));
    }
    Some(match done {
        Outcome::Copied(copied) => {
            let reduced = if copied.platform_subset { ", the wanted platforms only" } else { "" };
            format!("{release} {} ({} moved{reduced})\n", copied.digest, bytes(copied.bytes))
        }
        Outcome::Planned(plan) if plan.already_present => {
            format!("{release} {} (there)\n", plan.digest)
        }
        Outcome::Planned(plan) => {
            format!("{release} {} ({} to move)\n", plan.digest, bytes(plan.bytes))
        }
    })
}

fn image_json(synced: &TransferResult) -> Value {
    let mut value = json!({
        "source": synced.transfer.source.to_string(),
        "release": synced.transfer.release.to_string(),
        "retries": synced.retries,
        "seconds": rounded(synced.seconds),
    });
    let more = match &synced.result {
        Ok(Outcome::Copied(copied)) => json!({
            "result": result(synced, "copied"),
            "digest": copied.digest,
            "reduced": copied.platform_subset,
            "lacks": copied.missing_platforms.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "unavailable": copied.unavailable,
            "replaced": copied.replaced_digest,
            "notCopied": copied.not_copied,
            "blobs": copied.blobs,
            "bytes": copied.bytes,
            "mounted": copied.mounted_bytes,
            "present": copied.present_bytes,
        }),
        Ok(Outcome::Planned(plan)) => json!({
            "result": result(synced, "planned"),
            "digest": plan.digest,
            "lacks": plan.missing_platforms.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "unavailable": plan.unavailable,
            "replaced": plan.replaced_digest,
            "notCopied": plan.not_copied,
            "blobs": plan.blobs,
            "bytes": plan.bytes,
        }),
        Err(failure) => {
            let mut error = failure.to_json();
            json!({"result": FAILED, "error": error["error"].take()})
        }
    };
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

/// The word for what became of an image.
fn result(synced: &TransferResult, done: &'static str) -> &'static str {
    match &synced.result {
        Err(_) => FAILED,
        Ok(done) if done.not_copied().is_some() => "kept",
        Ok(done) if done.was_there() => "there",
        Ok(_) => done,
    }
}

/// Seconds to the millisecond.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}
