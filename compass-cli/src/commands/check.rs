use std::process::ExitCode;

use compass_manifest::finding::Severity;
use compass_manifest::policy::POLICY_FILE;
use compass_manifest::{Check, Report, render};
use serde_json::{Value, json};

use crate::base;
use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::git::Git;
use crate::output::{self, Output};
use crate::repository::Repository;

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also judges what changed since this git revision
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// Findings that stood at the base already fail the change too
    #[arg(long, requires = "base")]
    strict: bool,
}

pub(crate) fn run(args: &Args, global: &Global, output: &Output) -> Result<ExitCode, CliError> {
    let mut repository = Repository::open(global)?;
    // A change is judged by the policy that it found, unless the user names one.
    let with_policy = global.policy.is_none();
    let base = args.base.as_ref().map(|base| base::read(&repository, base, with_policy));
    let base = base.transpose()?;
    if let Some(policy) = base.as_ref().and_then(|base| base.policy.as_ref()) {
        repository.read_for(policy)?;
    }
    let products = repository.tagged_products(|_| true, output)?;
    let found = base.as_ref().and_then(|base| base.policy.as_ref());
    let mut check = Check::new(&repository.tree, found.unwrap_or(&repository.policy));
    if let Some(base) = &base {
        check = check.with_base(&base.tree).with_changed_paths(&base.changed);
        if found.is_some() && base.changed.contains(POLICY_FILE) {
            check = check.with_proposed_policy(&repository.policy);
        }
    }
    for (version, tree) in &products {
        check = check.with_product(version, tree);
    }
    let report = if args.strict { check.run().strict() } else { check.run() };
    let code = if report.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let prefix = repository.checkout.git().map_or("", Git::prefix);
    print(&report.in_directory(prefix), output);
    Ok(code)
}

fn print(report: &Report, output: &Output) {
    match output.format {
        Format::Sarif => {
            let mut log = render::sarif(report, VERSION);
            log["runs"][0]["invocations"] = json!([invocation(&output.warnings())]);
            output::print(&format!("{}\n", render::json_text(&log)));
        }
        Format::Github => {
            let warnings = output.warnings();
            let warnings = warnings.iter().map(|warning| render::github_warning(warning));
            let findings = render::github(report);
            output::print(&format!("{findings}{}", warnings.collect::<String>()));
        }
        Format::Json => output.result(|| render::json(report), String::new),
        // It has colours, and its names are escaped already.
        Format::Human => {
            let text = render::text(report, output.style);
            output::print(&format!("{text}{}\n", summary(report)));
        }
    }
}

/// What the run itself warned of (SARIF 2.1.0, 3.20.21).
fn invocation(warnings: &[String]) -> Value {
    let notifications =
        warnings.iter().map(|warning| json!({"level": "warning", "message": {"text": warning}}));
    json!({
        "executionSuccessful": true,
        "toolExecutionNotifications": notifications.collect::<Vec<_>>(),
    })
}

fn summary(report: &Report) -> String {
    let count =
        |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let mut summary = format!(
        "{} checked: {}, {}, {}",
        count(report.files(), "file"),
        count(report.count(Severity::Error), "error"),
        count(report.count(Severity::Warning), "warning"),
        count(report.count(Severity::Note), "note"),
    );
    if report.preexisting() > 0 {
        summary += &format!("; {} stood before", report.preexisting());
    }
    if !report.suppressed().is_empty() {
        summary += &format!("; {} allowed", report.suppressed().len());
    }
    summary
}
