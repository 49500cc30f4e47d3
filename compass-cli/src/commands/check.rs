//! `compass check`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use compass_manifest::finding::Severity;
use compass_manifest::policy::POLICY_FILE;
use compass_manifest::{Check, Report, render};
use serde_json::{Value, json};

use crate::display::counted;
use crate::error::{CliError, Result};
use crate::git::{Base, Git};
use crate::global_args::{Format, GlobalArgs};
use crate::output::{self, Output};
use crate::repository::Repository;

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also checks the changes since this git revision
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// Fails also for findings that the base has already
    #[arg(long, requires = "base")]
    strict: bool,
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let mut repository = Repository::open(global)?;
    // The policy of the base applies, so that a change cannot weaken its own check.
    let with_policy = global.policy.is_none();
    let base = args.base.as_ref().map(|base| read_base(&repository, base, with_policy));
    let (base, changed, base_policy) = match base.transpose()? {
        Some(Base { tree, changed, policy }) => (Some(tree), changed, policy),
        None => (None, BTreeSet::new(), None),
    };
    let products = repository.tagged_products(|_| true, output)?;
    let proposed = base_policy.map(|policy| repository.replace_policy(policy)).transpose()?;
    let (products, base) =
        (repository.parse_all(products), base.map(|tree| repository.parse(tree)));
    let mut check = Check::new(repository.release());
    if let Some(base) = &base {
        check = check.with_base(base).with_changed_paths(&changed);
    }
    if let Some(proposed) = proposed.as_ref().filter(|_| changed.contains(POLICY_FILE)) {
        check = check.with_proposed_policy(proposed);
    }
    for (version, product) in &products {
        check = check.with_product(version.as_str(), product);
    }
    let report = if args.strict { check.run().strict() } else { check.run() };
    if report.files() == 0 {
        output.warn("no file was checked: the directories of the policy contain no manifests");
    }
    let code = if report.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let prefix = repository.checkout.git().map_or("", Git::prefix);
    print(&report.in_directory(prefix), output);
    Ok(code)
}

fn read_base(repository: &Repository, revision: &str, with_policy: bool) -> Result<Base> {
    let Some(git) = repository.checkout.git() else {
        let message = format!("{} is not in a git repository", repository.root.display());
        return Err(CliError::usage(message).hint("`--base` compares with a git revision"));
    };
    git.base(revision, with_policy, &repository.tree, &repository.policy)
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
        // The text has colors, and its names are already escaped.
        Format::Human | Format::Markdown => {
            let text = render::text(report, output.style);
            output::print(&format!("{text}{}\n", summary(report)));
        }
    }
}

/// The warnings of the run (SARIF 2.1.0, section 3.20.21).
fn invocation(warnings: &[String]) -> Value {
    let notifications =
        warnings.iter().map(|warning| json!({"level": "warning", "message": {"text": warning}}));
    json!({
        "executionSuccessful": true,
        "toolExecutionNotifications": notifications.collect::<Vec<_>>(),
    })
}

fn summary(report: &Report) -> String {
    let mut summary = format!(
        "{} checked: {}, {}, {}",
        counted(report.files(), "file"),
        counted(report.count(Severity::Error), "error"),
        counted(report.count(Severity::Warning), "warning"),
        counted(report.count(Severity::Note), "note"),
    );
    if report.preexisting() > 0 {
        summary += &format!("; {} in the base already", report.preexisting());
    }
    if !report.suppressed().is_empty() {
        summary += &format!("; {} allowed", report.suppressed().len());
    }
    summary
}
