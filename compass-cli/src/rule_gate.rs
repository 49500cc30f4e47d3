//! Applies the rules before a target is synced, packaged or published.

pub(crate) mod bundle;

use std::collections::{BTreeMap, BTreeSet};

use compass_manifest::finding::{Finding, Severity};
use compass_manifest::inventory::{self, Hotfix};
use compass_manifest::version::ProductVersion;
use compass_manifest::{Check, Tree};
use serde_json::json;

use crate::display::first_lines;
use crate::error::{CliError, Result};
use crate::output::Output;
use crate::preflight::{MAX_SHOWN, summary};
use crate::repository::Repository;

#[derive(Debug, clap::Args)]
pub(crate) struct GateArgs {
    /// Continues despite errors that the rules find; the result contains the reason
    #[arg(long, value_name = "REASON", value_parser = parse_reason, hide_short_help = true)]
    pub(crate) no_check: Option<String>,
}

impl GateArgs {
    /// Returns whether the rules are skipped; if so, adds the reason to warnings and results.
    fn is_skipped(&self, output: &Output) -> bool {
        let Some(reason) = &self.no_check else { return false };
        output.warn(&format!("not checked by the rules: {reason}"));
        output.add_field("unchecked", json!(reason));
        true
    }
}

fn parse_reason(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("expected a reason, for example `--no-check 'agreed with the owner'`"),
        reason => Ok(reason.to_owned()),
    }
}

impl Repository {
    /// Returns an error if the rules find errors in files that are about to be released.
    pub(crate) fn require_no_errors(
        &self,
        files: &BTreeSet<String>,
        gate: &GateArgs,
        output: &Output,
    ) -> Result<()> {
        if files.is_empty() || gate.is_skipped(output) {
            return Ok(());
        }
        let is_released = |hotfix: &Hotfix| files.contains(hotfix.source.path());
        let products = self.tagged_products(is_released, output)?;
        let products = self.parse_all(products);
        let mut check = Check::new(self.release());
        for (version, product) in &products {
            check = check.with_product(version.as_str(), product);
        }
        let report = check.run();
        let is_relevant = |finding: &&Finding| {
            let related = finding.related.iter().map(|related| &related.location.file);
            related.chain([&finding.location.file]).any(|file| files.contains(file))
        };
        require_none(report.findings().iter().filter(is_relevant))
    }

    /// Reads the repository at the tags of the product versions that hotfixes are for; warns of
    /// versions without a tag.
    pub(crate) fn tagged_products(
        &self,
        is_selected: impl Fn(&Hotfix) -> bool,
        output: &Output,
    ) -> Result<BTreeMap<String, Tree>> {
        let mut products = BTreeMap::new();
        let hotfixes = inventory::hotfixes(self.release());
        let hotfixes = hotfixes.into_iter().filter(is_selected);
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
            let is_addon =
                |path: &str| directories.iter().any(|directory| path.starts_with(&**directory));
            let Ok(parsed) = version.parse::<ProductVersion>() else { continue };
            match git.product_tree(&parsed, &self.policy, is_addon)? {
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

/// Returns an error if findings are errors.
fn require_none<'f>(findings: impl Iterator<Item = &'f Finding>) -> Result<()> {
    let errors = findings.filter(|finding| finding.severity == Severity::Error);
    let message = first_lines(errors.map(summary), MAX_SHOWN);
    match message.is_empty() {
        true => Ok(()),
        false => Err(CliError::check_failed(message).hint(
            "`compass check` shows the location; `--no-check REASON` continues despite the errors",
        )),
    }
}
