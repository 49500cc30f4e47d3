use std::process::ExitCode;

use compass_manifest::finding::Severity;
use compass_manifest::{Report, check, render};

use crate::cli::Global;
use crate::failure::Failure;
use crate::output::Output;
use crate::repository::Repository;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let repository = Repository::open(global)?;
    let report = check(&repository.tree, &repository.policy);
    output.result(
        || render::json(&report),
        || format!("{}{}\n", render::text(&report, output.style), summary(&repository, &report)),
    );
    Ok(if report.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(repository: &Repository, report: &Report) -> String {
    let count =
        |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    format!(
        "{} checked: {}, {}, {}",
        count(repository.tree.files().count(), "file"),
        count(report.count(Severity::Error), "error"),
        count(report.count(Severity::Warning), "warning"),
        count(report.count(Severity::Note), "note"),
    )
}
