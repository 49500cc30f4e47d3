//! The summary of a release, as text and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use compass_bundle::BundlePlan;
use compass_bundle::store::Published;
use compass_registry::Digest;
use serde_json::{Value, json};

use crate::display::{counted, human_bytes};
use crate::error::CliError;
use crate::image_transfer::Sums;

/// A step of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Check,
    Sync,
    Package,
    Publish,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Sync => "sync",
            Self::Package => "package",
            Self::Publish => "publish",
        }
    }
}

/// A step that was done or skipped.
struct StepResult {
    step: Step,
    is_skipped: bool,
    detail: String,
}

/// The results of the steps so far.
pub(super) struct Summary {
    target: String,
    dry_run: bool,
    current: Step,
    results: Vec<StepResult>,
    /// The name, size and digest of the bundle, once it is planned.
    planned: Option<(String, u64, Digest)>,
    /// The path of the local package, if there is one.
    package: Option<String>,
    published: Option<Published>,
    comment: Option<String>,
}

impl Summary {
    pub(super) fn new(target: String, dry_run: bool) -> Self {
        Self {
            target,
            dry_run,
            current: Step::Check,
            results: Vec::new(),
            planned: None,
            package: None,
            published: None,
            comment: None,
        }
    }

    pub(super) fn begin(&mut self, step: Step) {
        self.current = step;
    }

    pub(super) fn done(&mut self, detail: &str) {
        self.add(false, detail);
    }

    pub(super) fn skip(&mut self, reason: &str) {
        self.add(true, reason);
    }

    fn add(&mut self, is_skipped: bool, detail: &str) {
        self.results.push(StepResult { step: self.current, is_skipped, detail: detail.to_owned() });
    }

    pub(super) fn describe(&mut self, plan: &BundlePlan) {
        self.planned = Some((plan.file_name(), plan.size(), plan.digest()));
    }

    pub(super) fn keep(&mut self, package: &Path) {
        self.package = Some(package.display().to_string());
    }

    /// Adds the published bundle, and the comment that requests the next step of the queue.
    pub(super) fn publish(&mut self, published: &Published, queue_step: Option<&str>) {
        let step = queue_step.map(|label| format!("/queue {label}\n")).unwrap_or_default();
        self.comment = Some(format!("packages uploaded to\n{}\n{step}", published.url));
        self.published = Some(published.clone());
    }

    /// Adds the failing step and the completed ones to an error.
    pub(super) fn failed(&self, error: CliError) -> CliError {
        if self.results.is_empty() {
            return error;
        }
        let done: Vec<_> = self.results.iter().map(|result| result.step.name()).collect();
        let again = format!("done: {}; run the same command to continue", done.join(", "));
        let hint = match &error.hint {
            Some(hint) => format!("{hint}\n{again}"),
            None => again,
        };
        let (target, step) = (&self.target, self.current.name());
        error.context(format!("cannot release {target}: {step} failed")).hint(hint)
    }

    pub(super) fn to_json(&self) -> Value {
        let steps = self.results.iter().map(|result| {
            let StepResult { step, is_skipped, detail } = result;
            json!({"step": step.name(), "skipped": is_skipped, "detail": detail})
        });
        let published = self.published.as_ref();
        let planned = self.planned.as_ref();
        json!({
            "target": self.target,
            "steps": steps.collect::<Vec<_>>(),
            "bundle": self.package,
            "url": published.map(|one| &one.url),
            "size": planned.map(|(_, size, _)| size),
            "digest": planned.map(|(_, _, digest)| digest),
            "sha256": published.map(|one| one.digest.hex()),
            "present": published.is_some_and(|one| one.present),
            "sent": published.map_or(0, |one| one.sent),
            "copied": published.map_or(0, |one| one.copied),
            "comment": self.comment,
            "dryRun": self.dry_run,
        })
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        for StepResult { step, is_skipped, detail } in &self.results {
            let skipped = if *is_skipped { "skipped: " } else { "" };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:<8} {skipped}{detail}", step.name());
        }
        if let Some((name, size, digest)) = &self.planned {
            let _ =
                writeln!(text, "{name}: {size} bytes ({})\ndigest {digest}", human_bytes(*size));
        }
        if let Some(published) = &self.published {
            let _ = writeln!(text, "sha256 {}", published.digest.hex());
        }
        if let Some(comment) = &self.comment {
            let _ = write!(text, "\nThe comment for the pull request:\n\n{comment}");
        }
        text
    }
}

/// Describes the result of the step `check`.
pub(super) fn describe_check(files: usize) -> String {
    format!("no errors in {}", counted(files, "file"))
}

/// Describes the result of the step `sync`.
pub(super) fn describe_sync(sums: &Sums, dry_run: bool) -> String {
    let (copied, bytes) = (counted(sums.copied, "image"), human_bytes(sums.bytes));
    let mut text = match (sums.copied, sums.present, dry_run) {
        (0, 1, _) => "1 image is in the release registry".to_owned(),
        (0, present, _) => format!("{present} images are in the release registry"),
        (_, present, true) => format!("would copy {copied} ({bytes}), {present} already present"),
        (_, present, false) => format!("{copied} copied ({bytes}), {present} already present"),
    };
    if sums.kept > 0 {
        let _ = write!(text, ", {} kept although the source has another image", sums.kept);
    }
    text
}

#[cfg(test)]
mod tests {
    use compass_manifest::review::{CommandKind, parse_commands};

    use super::*;

    #[test]
    fn comment_is_read_as_list_of_packages() {
        let mut summary = Summary::new("plugin gpu".to_owned(), false);
        let url = "s3://infra-release/plugins/gpu/compass-plugins-gpu-v0.1.1.tar.gz".to_owned();
        let published = Published::new(url.clone(), 1, Digest::of(b""), Some(1));
        summary.publish(&published, Some("done-package-uploaded"));
        let commands = parse_commands(summary.comment.as_deref().unwrap());
        let listed = commands.iter().find_map(|command| match &command.kind {
            CommandKind::Packages(items) => items[0].value.clone().ok(),
            _ => None,
        });
        assert_eq!(listed, Some(url));
        assert_eq!(commands.len(), 2, "{commands:?}");
    }

    #[test]
    fn failed_step_names_completed_ones() {
        let mut summary = Summary::new("plugin gpu".to_owned(), false);
        let first = summary.failed(CliError::usage("no such plugin"));
        assert_eq!((first.message.as_str(), first.hint), ("no such plugin", None));
        summary.done("no errors");
        summary.begin(Step::Sync);
        let error = summary.failed(CliError::usage("refused").hint("log in"));
        assert_eq!(error.message, "cannot release plugin gpu: sync failed");
        assert_eq!(error.causes, ["refused"]);
        let hint = error.hint.unwrap();
        assert_eq!(hint, "log in\ndone: check; run the same command to continue");
    }
}
