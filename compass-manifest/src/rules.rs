//! Defines the rules: each has a file in this directory and an entry in [`ALL`].

mod addon_version_not_increased;
mod ambiguous_number;
mod base_addon;
mod change_scope;
mod chart_tag;
mod container_without_image;
mod duplicate_image;
mod duplicate_key;
mod duplicate_manifest;
mod file_misplaced;
mod host_port_conflict;
mod hotfix_base_mismatch;
mod hotfix_drops_change;
mod hotfix_field_changed;
mod hotfix_image_reference;
mod hotfix_namespace;
mod hotfix_path;
mod hotfix_several_addons;
mod hotfix_version_format;
mod hotfix_version_mismatch;
mod hotfix_version_reused;
mod image_list_syntax;
mod image_not_listed;
mod image_not_used;
mod image_reference;
mod invisible_character;
mod missing_field;
mod missing_file;
mod mutable_tag;
mod node_port_conflict;
mod not_regular_file;
mod placeholder_left;
mod plugin_image_reference;
mod plugin_name_mismatch;
mod plugin_version_format;
mod plugin_version_not_increased;
mod policy_changed;
mod port_conflict;
mod product_file_path;
mod product_version_format;
mod slot_conflict;
mod stale_description;
mod template_variable;
mod unknown_addon;
mod unknown_field;
mod unpinned_image;
mod unquoted_template;
pub(crate) mod unused_allowance;
mod wrong_type;
mod yaml_syntax;

use std::collections::BTreeMap;

use crate::escape::quote;
use crate::finding::{Location, Subject};
use crate::policy::{POLICY_FILE, Policy, PolicyError};
use crate::repository::{AddonFile, PluginFile, ReleaseRepository};
use crate::rule::{FindingSink, Rule};
use crate::schema::ViolationKind;
use crate::source::{SourceFile, Span, Spanned};

/// Every rule, ordered by code.
pub static ALL: &[&Rule] = &[
    &addon_version_not_increased::RULE,
    &ambiguous_number::RULE,
    &change_scope::RULE,
    &chart_tag::RULE,
    &container_without_image::RULE,
    &duplicate_image::RULE,
    &duplicate_key::RULE,
    &duplicate_manifest::RULE,
    &file_misplaced::RULE,
    &host_port_conflict::RULE,
    &hotfix_base_mismatch::RULE,
    &hotfix_drops_change::RULE,
    &hotfix_field_changed::RULE,
    &hotfix_image_reference::RULE,
    &hotfix_namespace::RULE,
    &hotfix_path::RULE,
    &hotfix_several_addons::RULE,
    &hotfix_version_format::RULE,
    &hotfix_version_mismatch::RULE,
    &hotfix_version_reused::RULE,
    &image_list_syntax::RULE,
    &image_not_listed::RULE,
    &image_not_used::RULE,
    &image_reference::RULE,
    &invisible_character::RULE,
    &missing_field::RULE,
    &missing_file::RULE,
    &mutable_tag::RULE,
    &node_port_conflict::RULE,
    &not_regular_file::RULE,
    &placeholder_left::RULE,
    &plugin_image_reference::RULE,
    &plugin_name_mismatch::RULE,
    &plugin_version_format::RULE,
    &plugin_version_not_increased::RULE,
    &policy_changed::RULE,
    &port_conflict::RULE,
    &product_file_path::RULE,
    &product_version_format::RULE,
    &slot_conflict::RULE,
    &stale_description::RULE,
    &template_variable::RULE,
    &unknown_addon::RULE,
    &unknown_field::RULE,
    &unpinned_image::RULE,
    &unquoted_template::RULE,
    &unused_allowance::RULE,
    &wrong_type::RULE,
    &yaml_syntax::RULE,
];

/// Returns the rule with the code; `None` if no rule has it.
pub fn find(code: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.code == code)
}

/// Returns the rule whose code is most similar to a mistyped code.
///
/// Returns `None` if no code is similar enough.
pub fn suggest(code: &str) -> Option<&'static Rule> {
    crate::suggest(code, ALL.iter().map(|rule| rule.code)).and_then(find)
}

/// Verifies that every rule code that a policy names is built in or one of `own`.
///
/// # Errors
/// Returns the location of the first code that no rule has, with a suggestion.
pub fn verify_policy(policy: &Policy, own: &[&'static Rule]) -> Result<(), PolicyError> {
    let is_known = |code: &str| find(code).is_some() || own.iter().any(|rule| rule.code == code);
    let Some(unknown) = policy.rule_codes.iter().find(|code| !is_known(&code.value)) else {
        return Ok(());
    };
    let help = suggest(&unknown.value).map_or_else(
        || "`compass explain` lists the rules".to_owned(),
        |known| format!("did you mean {}?", quote(known.code)),
    );
    let fallback = SourceFile::new(POLICY_FILE, "");
    let source = policy.source.as_ref().unwrap_or(&fallback);
    Err(PolicyError {
        location: Location::new(source, unknown.span),
        message: format!("there is no rule {}", quote(&unknown.value)),
        help,
    })
}

/// Adds a finding for each schema violation of a kind.
///
/// The rules about the schema differ only in the kind.
fn report_violations(
    repository: &ReleaseRepository,
    kind: ViolationKind,
    sink: &mut FindingSink<'_>,
) {
    for document in repository.documents() {
        for violation in document.violations.iter().filter(|violation| violation.kind == kind) {
            sink.add(&document.source, violation.span, &violation.message, &violation.help);
        }
    }
}

/// The claim of an addon on a port of every node.
struct PortClaim<'r> {
    protocol: &'r str,
    port: &'r Spanned<u16>,
}

/// Adds a finding for each repeated claim of a port among the addons of a product.
fn report_port_conflicts(
    repository: &ReleaseRepository,
    what: &str,
    claims: fn(&AddonFile) -> Vec<PortClaim<'_>>,
    sink: &mut FindingSink<'_>,
) {
    let mut first: BTreeMap<(&str, u16, &str), (&AddonFile, Span)> = BTreeMap::new();
    for addon in repository.installed_addons() {
        let product = repository.addon_directory(addon);
        for PortClaim { protocol, port } in claims(addon) {
            let Spanned { value: port, span } = *port;
            let Some((other, other_span)) = first.get(&(product, port, protocol)) else {
                first.insert((product, port, protocol), (addon, span));
                continue;
            };
            let (name, other_name) = (quote(addon.name()), quote(other.name()));
            let message = format!("addons {other_name} and {name} both claim {what} {port}");
            sink.add(&addon.document.source, span, message, "choose another port for one of them")
                .about(Subject::Port(port))
                .related(&other.document.source, *other_span, format!("claimed by {other_name}"));
        }
    }
}

/// The claim of a plugin on a resource that only one plugin may have.
struct Claim<'r> {
    plugin: &'r PluginFile,
    span: Span,
}

/// Adds a finding for each claim after the first.
///
/// The first claim is the related location.
fn report_conflict(
    claims: &[Claim<'_>],
    what: &str,
    subject: &Subject,
    help: &str,
    sink: &mut FindingSink<'_>,
) {
    let Some((first, rest)) = claims.split_first() else { return };
    let (first_stem, first_source) = (&first.plugin.stem, &first.plugin.document.source);
    for Claim { plugin, span } in rest {
        let (name, first_name) = (quote(&plugin.stem), quote(first_stem));
        let message = format!("plugins {first_name} and {name} both claim {what}");
        sink.add(&plugin.document.source, *span, message, help)
            .label(format!("claimed by {name}"))
            .about(subject.clone())
            .about(Subject::Plugin(plugin.stem.clone()))
            .about(Subject::Plugin(first_stem.clone()))
            .related(first_source, first.span, format!("claimed by {first_name}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verify_policy_unknown_code_is_located() {
        for (text, expected, help) in [
            (
                "rules:\n  slot-conflikt: off\n",
                ":3:3: there is no rule `slot-conflikt`",
                "did you mean `slot-conflict`?",
            ),
            (
                "allow:\n- {code: no-rule, reason: x}\n",
                ":3:10: there is no rule `no-rule`",
                "`compass explain` lists the rules",
            ),
        ] {
            let source = SourceFile::new(POLICY_FILE, format!("version: 1\n{text}"));
            let error = verify_policy(&Policy::parse(&source).unwrap(), &[]).unwrap_err();
            assert_eq!(error.to_string(), format!("{POLICY_FILE}{expected}"));
            assert_eq!(error.help, help);
        }
    }
}
