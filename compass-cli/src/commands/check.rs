use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use compass_manifest::finding::Severity;
use compass_manifest::version::ProductVersion;
use compass_manifest::{Check, Report, Tree, inventory, render};

use crate::base;
use crate::cli::{Format, Global};
use crate::failure::Failure;
use crate::output::Output;
use crate::repository::Repository;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also judges what changed since this git revision
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// Findings that stood at the base already fail the change too
    #[arg(long, requires = "base")]
    strict: bool,
}

pub(crate) fn run(args: &Args, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let repository = Repository::open(global)?;
    let base = args.base.as_ref().map(|rev| base::read(&repository.root, rev, &repository.tree));
    let base = base.transpose()?;
    let head = base.as_ref().map_or(&repository.tree, |base| &base.head);
    let products = products(&repository, head, output)?;
    let mut check = Check::new(head, &repository.policy);
    if let Some(base) = &base {
        check = check.against(&base.tree);
    }
    for (version, tree) in &products {
        check = check.with_product(version, tree);
    }
    let report = if args.strict { check.run().strict() } else { check.run() };
    print(&report, output);
    Ok(if report.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report, output: &Output) {
    output.result(
        || render::json(report),
        || match output.format {
            Format::Sarif => format!("{:#}\n", render::sarif(report, env!("CARGO_PKG_VERSION"))),
            Format::Github => render::github(report),
            _ => format!("{}{}\n", render::text(report, output.style), summary(report)),
        },
    );
}

/// The repository at the product versions that hotfixes are for, where git has a tag of each.
fn products(
    repository: &Repository,
    head: &Tree,
    output: &Output,
) -> Result<BTreeMap<String, Tree>, Failure> {
    let mut products = BTreeMap::new();
    if !base::is_versioned(&repository.root) {
        return Ok(products);
    }
    let policy = &repository.policy;
    let hotfixes = inventory::hotfixes(head, policy);
    let versions: BTreeSet<_> = hotfixes.into_iter().filter_map(|hotfix| hotfix.base).collect();
    for version in versions {
        let wanted = |path: &str| {
            policy.products.addons.iter().any(|directory| path.starts_with(directory.as_str()))
        };
        let Ok(parsed) = version.parse::<ProductVersion>() else { continue };
        match base::product(&repository.root, &parsed, wanted)? {
            Some(tree) => drop(products.insert(version, tree)),
            None => output.note(&format!(
                "note: there is no tag of {version}, so its hotfixes are not compared with its \
                 addons; `git fetch origin tag {version}` may help"
            )),
        }
    }
    Ok(products)
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
    if !report.allowed().is_empty() {
        summary += &format!("; {} allowed", report.allowed().len());
    }
    summary
}
