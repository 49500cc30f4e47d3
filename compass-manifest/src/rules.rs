//! The catalogue of rules. A rule is one file here and one line in [`ALL`].

mod duplicate_key;
mod missing_field;
mod plugin_image_reference;
mod plugin_name_mismatch;
mod plugin_version_format;
mod port_conflict;
mod slot_conflict;
mod unknown_field;
mod wrong_type;
mod yaml_syntax;

use crate::rule::{Findings, PluginFile, Release, Rule};
use crate::shape::DepartureKind;
use crate::source::Span;

/// Every rule, ordered by code.
pub static ALL: &[&Rule] = &[
    &duplicate_key::RULE,
    &missing_field::RULE,
    &plugin_image_reference::RULE,
    &plugin_name_mismatch::RULE,
    &plugin_version_format::RULE,
    &port_conflict::RULE,
    &slot_conflict::RULE,
    &unknown_field::RULE,
    &wrong_type::RULE,
    &yaml_syntax::RULE,
];

/// The rule with a code.
pub fn find(code: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.code == code)
}

/// Adds a finding for each departure of a kind: the rules about a file's shape differ in nothing
/// else.
fn report_departures(release: &Release<'_>, kind: DepartureKind, findings: &mut Findings<'_>) {
    for plugin in &release.plugins {
        for departure in plugin.departures.iter().filter(|departure| departure.kind == kind) {
            findings.add(&plugin.source, departure.span, &departure.message, &departure.help);
        }
    }
}

/// A plugin's claim on something that only one may have.
struct Claim<'r> {
    plugin: &'r PluginFile,
    span: Span,
}

/// Adds a finding at every claim after the first, showing the first too.
fn report_conflict(claims: &[Claim<'_>], what: &str, help: &str, findings: &mut Findings<'_>) {
    let Some((first, rest)) = claims.split_first() else {
        return;
    };
    for claim in rest {
        let (ours, theirs) = (&claim.plugin.stem, &first.plugin.stem);
        findings
            .add(
                &claim.plugin.source,
                claim.span,
                format!("plugins `{theirs}` and `{ours}` both claim {what}"),
                help,
            )
            .label(format!("claimed by `{ours}`"))
            .related(&first.plugin.source, first.span, format!("claimed by `{theirs}`"));
    }
}
