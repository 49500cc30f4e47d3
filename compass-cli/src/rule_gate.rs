//! Applies the rules before a target is synced, packaged or published.

pub(crate) mod bundle;

use std::collections::{BTreeMap, BTreeSet};

use compass_manifest::finding::{Finding, Severity};
use compass_manifest::inventory::{self, Hotfix};
use compass_manifest::version::ProductVersion;
use compass_manifest::{Check, Tree};
use serde_json::json;

use crate::base;
use crate::error::CliError;
use crate::output::Output;
use crate::preflight::describe;
use crate::repository::Repository;

/// Findings that a refusal shows.
const MAX_SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct GateArgs {
    /// Continues in spite of errors that the rules find; the result contains the reason
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub(crate) no_check: Option<String>,
}

impl GateArgs {
    /// Whether the rules are skipped, which is said in every result.
    fn is_off(&self, output: &Output) -> bool {
        let Some(reason) = &self.no_check else { return false };
        output.warn(&format!("not checked by the rules: {reason}"));
        output.add_field("unchecked", json!(reason));
        true
    }
}

fn reason(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("say why, as `--no-check 'agreed with the owner'`"),
        reason => Ok(reason.to_owned()),
    }
}

impl Repository {
    /// Refuses to ship files in which the rules find errors.
    pub(crate) fn require_no_errors(
        &self,
        files: &BTreeSet<String>,
        gate: &GateArgs,
        output: &Output,
    ) -> Result<(), CliError> {
        if files.is_empty() || gate.is_off(output) {
            return Ok(());
        }
        let is_shipped = |hotfix: &Hotfix| files.contains(hotfix.source.path());
        let products = self.tagged_products(is_shipped, output)?;
        let mut check = Check::new(&self.tree, &self.policy);
        for (version, tree) in &products {
            check = check.with_product(version, tree);
        }
        let report = check.run();
        let concerns = |finding: &&Finding| {
            let related = finding.related.iter().map(|related| &related.location.file);
            related.chain([&finding.location.file]).any(|file| files.contains(file))
        };
        require_none(report.findings().iter().filter(concerns))
    }

    /// The repository at the product versions that hotfixes are for, as far as git has a tag of
    /// each; warns of others.
    pub(crate) fn tagged_products(
        &self,
        is_wanted: impl Fn(&Hotfix) -> bool,
        output: &Output,
    ) -> Result<BTreeMap<String, Tree>, CliError> {
        let mut products = BTreeMap::new();
        let hotfixes = inventory::hotfixes(&self.tree, &self.policy).into_iter().filter(is_wanted);
        let versions: BTreeSet<_> = hotfixes.filter_map(|hotfix| hotfix.base).collect();
        let Some(git) = self.checkout.git() else {
            if !versions.is_empty() {
                output.warn(
                    "there is no git repository, so hotfixes are not compared with the addons of \
                     their product versions",
                );
            }
            return Ok(products);
        };
        for version in versions {
            let directories = &self.policy.products.addons;
            let wanted =
                |path: &str| directories.iter().any(|directory| path.starts_with(&**directory));
            let Ok(parsed) = version.parse::<ProductVersion>() else { continue };
            match base::product(git, &parsed, &self.policy, wanted)? {
                Some(tree) => drop(products.insert(version, tree)),
                None => {
                    let fetch = git.fetch_tag_command(&version)?;
                    let fetch = fetch.map(|fetch| format!("; {fetch} may help"));
                    output.warn(&format!(
                        "there is no tag of {version}, so its hotfixes are not compared with its \
                         addons{}",
                        fetch.unwrap_or_default(),
                    ));
                }
            }
        }
        Ok(products)
    }
}

/// Refuses findings that are errors.
fn require_none<'f>(findings: impl Iterator<Item = &'f Finding>) -> Result<(), CliError> {
    let errors: Vec<&Finding> =
        findings.filter(|finding| finding.severity == Severity::Error).collect();
    if errors.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> =
        errors.iter().take(MAX_SHOWN).map(|finding| describe(finding)).collect();
    if errors.len() > MAX_SHOWN {
        lines.push(format!("and {} more", errors.len() - MAX_SHOWN));
    }
    Err(CliError::check_failed(lines.join("\n"))
        .hint("`compass check` shows where; to ship it nevertheless, say why: `--no-check REASON`"))
}
