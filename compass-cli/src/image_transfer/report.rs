//! The report of a run, as text and as JSON (`docs/sync.schema.json`).

use std::fmt::Write as _;
use std::path::Path;

use compass_registry::Platform;
use serde_json::{Value, json};

use super::{Outcome, TransferResult};
use crate::display::human_bytes;
use crate::error::{CliError, Result};
use crate::fs;

/// The value of `format` in a report.
pub(crate) const FORMAT: &str = "compass-sync-report-1";

/// The value of `result` for an image with an error.
pub(crate) const FAILED: &str = "failed";

pub(crate) struct Report {
    pub(super) results: Vec<TransferResult>,
    /// The requested platforms; empty for all.
    pub(super) platforms: Vec<Platform>,
    pub(super) dry_run: bool,
    pub(super) seconds: f64,
}

/// The numbers of images by result, and the bytes of all.
#[derive(Default)]
pub(crate) struct Sums {
    pub(crate) copied: usize,
    pub(crate) present: usize,
    pub(crate) kept: usize,
    pub(crate) failed: usize,
    pub(crate) bytes: u64,
    mounted: u64,
    retries: u64,
}

impl Report {
    pub(crate) fn errors(&self) -> impl Iterator<Item = &CliError> {
        self.results.iter().filter_map(|one| one.result.as_ref().err())
    }

    /// The errors. Those that differ only in the image are combined.
    pub(crate) fn grouped_errors(&self) -> Vec<CliError> {
        let mut groups: Vec<(String, Vec<&TransferResult>)> = Vec::new();
        for one in self.results.iter().filter(|one| one.result.is_err()) {
            let key = without_names(one);
            match groups.iter_mut().find(|(other, _)| *other == key) {
                Some((_, group)) => group.push(one),
                None => groups.push((key, vec![one])),
            }
        }
        groups.into_iter().filter_map(|(_, group)| group_error(&group)).collect()
    }

    /// All errors as one, with the highest exit code. Returns `None` if there is none.
    pub(crate) fn combined_error(&self) -> Option<CliError> {
        let exit = self.errors().map(|error| error.exit).max()?;
        let mut groups = self.grouped_errors();
        if groups.len() == 1 {
            return groups.pop();
        }
        let (failed, all) = (self.sums().failed, self.results.len());
        let message = format!("cannot copy {failed} of {all} images");
        let causes = groups.iter().map(|error| {
            let reasons = error.causes.iter().map(String::as_str);
            std::iter::once(error.message.as_str()).chain(reasons).collect::<Vec<_>>().join(": ")
        });
        let hint = groups.iter().find_map(|error| error.hint.clone());
        Some(CliError { exit, message, causes: causes.collect(), hint })
    }

    /// The warnings about the images.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.results.iter().flat_map(|one| {
            let (report, moved) = match &one.result {
                Ok(Outcome { report, is_plan: false }) => (Some(report), "was moved"),
                Ok(Outcome { report, is_plan: true }) => (Some(report), "would be moved"),
                Err(_) => (None, ""),
            };
            let replaced = report.and_then(|report| report.replaced_digest);
            let lacks = report.map_or(&[][..], |report| &report.missing_platforms);
            let unavailable = report.map_or(&[][..], |report| &report.unavailable);
            let release = &one.transfer.release;
            let lacks = lacks.iter().map(move |lacked| format!("{release} is not for {lacked}"));
            let replaced =
                replaced.map(|old| format!("{release}: the tag {moved} from {old}"));
            let unavailable = unavailable.iter().map(move |layer| {
                format!(
                    "{release}: neither registry has its non-distributable layer {layer}; a host must \
                     fetch that layer from its owner to run the image"
                )
            });
            replaced.into_iter().chain(lacks).chain(unavailable)
        })
    }

    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        fs::write_output(path, format!("{:#}\n", self.to_json()).as_bytes())
    }

    pub(crate) fn to_json(&self) -> Value {
        let sums = self.sums();
        json!({
            "format": FORMAT,
            "platforms": self.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "images": self.results.iter().map(image_json).collect::<Vec<_>>(),
            "arrived": sums.copied,
            "there": sums.present,
            "kept": sums.kept,
            "failed": sums.failed,
            "bytes": sums.bytes,
            "mounted": sums.mounted,
            "retries": sums.retries,
            "seconds": rounded(self.seconds),
            "warnings": self.warnings().collect::<Vec<_>>(),
        })
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text: String = self.results.iter().filter_map(line).collect();
        let sums = self.sums();
        let _ = if self.dry_run {
            writeln!(
                text,
                "{} to copy ({}), {} already present, {} failed",
                sums.copied,
                human_bytes(sums.bytes),
                sums.present,
                sums.failed
            )
        } else {
            writeln!(
                text,
                "{} copied ({}), {} already present, {} failed, in {:.1} s",
                sums.copied,
                human_bytes(sums.bytes),
                sums.present,
                sums.failed,
                self.seconds
            )
        };
        if sums.kept > 0 {
            let _ =
                writeln!(text, "{} kept: the source has another image under the tag", sums.kept);
        }
        text
    }

    pub(crate) fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for one in &self.results {
            sums.retries += u64::from(one.retries);
            match &one.result {
                Err(_) => sums.failed += 1,
                Ok(Outcome { report, .. }) if report.not_copied.is_some() => sums.kept += 1,
                Ok(Outcome { report, .. }) if report.already_present => sums.present += 1,
                Ok(Outcome { report, is_plan }) => {
                    sums.copied += 1;
                    sums.bytes += report.bytes;
                    sums.mounted += if *is_plan { 0 } else { report.mounted_bytes };
                }
            }
        }
        sums
    }
}

/// The maximum number of images that an error names.
const MAX_NAMES: usize = 3;

/// The text of an error without the names of its image.
fn without_names(image: &TransferResult) -> String {
    let text = image.result.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let transfer = &image.transfer;
    [&transfer.source, &transfer.release].into_iter().fold(text, |text, image| {
        let (version, repository) =
            (image.tag_or_digest().to_string(), image.repository().as_str());
        let text = text.replace(&image.to_string(), "*").replace(repository, "*");
        text.replace(&format!("/{version}"), "/*").replace(&format!(":{version}"), ":*")
    })
}

fn group_error(group: &[&TransferResult]) -> Option<CliError> {
    let first = group.first()?;
    let error = first.result.as_ref().err()?;
    if group.len() == 1 {
        return Some(error.clone());
    }
    let names = group.iter().take(MAX_NAMES).map(|one| one.transfer.release.to_string());
    let mut names = names.collect::<Vec<_>>().join(", ");
    if group.len() > MAX_NAMES {
        names += &format!(" and {} more", group.len() - MAX_NAMES);
    }
    Some(CliError {
        message: format!("cannot copy {} images: {names}", group.len()),
        ..error.clone()
    })
}

/// The line of an image; `None` if it has an error.
fn line(image: &TransferResult) -> Option<String> {
    let release = &image.transfer.release;
    let Outcome { report, is_plan } = image.result.as_ref().ok()?;
    let bytes = human_bytes(report.bytes);
    let what = match (report.not_copied, is_plan) {
        (Some(not_copied), _) => format!("kept; not copied: {not_copied}"),
        (None, true) if report.already_present => "already present".to_owned(),
        (None, true) => format!("{bytes} to copy"),
        (None, false) if report.platform_subset => {
            format!("{bytes} copied, only the requested platforms")
        }
        (None, false) => format!("{bytes} copied"),
    };
    Some(format!("{release} {} ({what})\n", report.digest))
}

fn image_json(image: &TransferResult) -> Value {
    let mut value = json!({
        "source": image.transfer.source.to_string(),
        "release": image.transfer.release.to_string(),
        "retries": image.retries,
        "seconds": rounded(image.seconds),
    });
    let more = match &image.result {
        Ok(outcome) => outcome_json(outcome),
        Err(error) => {
            let mut error = error.to_json();
            json!({"result": FAILED, "error": error["error"].take()})
        }
    };
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

fn outcome_json(Outcome { report, is_plan }: &Outcome) -> Value {
    let result = match (report.not_copied, is_plan) {
        (Some(_), _) => "kept",
        (None, _) if report.already_present => "there",
        (None, true) => "planned",
        (None, false) => "copied",
    };
    let mut value = json!({
        "result": result,
        "digest": report.digest,
        "lacks": report.missing_platforms.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "unavailable": report.unavailable,
        "replaced": report.replaced_digest,
        "notCopied": report.not_copied,
        "blobs": report.blobs,
        "bytes": report.bytes,
    });
    if !is_plan {
        value["reduced"] = json!(report.platform_subset);
        value["mounted"] = json!(report.mounted_bytes);
        value["present"] = json!(report.present_bytes);
    }
    value
}

/// Rounds seconds to milliseconds.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}
