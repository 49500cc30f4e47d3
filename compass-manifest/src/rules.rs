//! The catalogue of rules. A rule is one file here and one line in [`ALL`].

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
use crate::finding::Subject;
use crate::repository::{AddonFile, PluginFile, ReleaseRepository};
use crate::rule::{FindingSink, Rule};
use crate::schema::ViolationKind;
use crate::source::{Span, Spanned};

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

/// The rule with a code.
pub fn find(code: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.code == code)
}

/// The rule whose code a mistyped one is nearest to, if it is near enough to be meant.
pub fn suggest(code: &str) -> Option<&'static Rule> {
    crate::suggest(code, ALL.iter().map(|rule| rule.code)).and_then(find)
}

/// Adds a finding for each violation of a kind: the rules about a file's shape differ in nothing
/// else.
fn report_violations(
    repository: &ReleaseRepository<'_>,
    kind: ViolationKind,
    sink: &mut FindingSink<'_>,
) {
    for document in repository.documents() {
        for violation in document.violations.iter().filter(|violation| violation.kind == kind) {
            sink.add(&document.source, violation.span, &violation.message, &violation.help);
        }
    }
}

/// An addon's claim on a port of every node.
struct PortClaim<'r> {
    protocol: &'r str,
    port: &'r Spanned<u16>,
}

/// Adds a finding at every claim of a port after the first, among the addons of each product.
fn report_port_conflicts(
    repository: &ReleaseRepository<'_>,
    what: &str,
    claims: fn(&AddonFile) -> Vec<PortClaim<'_>>,
    sink: &mut FindingSink<'_>,
) {
    let mut first: BTreeMap<(&str, u16, &str), (&AddonFile, Span)> = BTreeMap::new();
    for addon in repository.installed_addons() {
        let product = repository.addon_directory(addon);
        for PortClaim { protocol, port } in claims(addon) {
            let Spanned { value: port, span } = *port;
            let Some((other, there)) = first.get(&(product, port, protocol)) else {
                first.insert((product, port, protocol), (addon, span));
                continue;
            };
            let (ours, theirs) = (addon.name(), other.name());
            let source = &addon.document.source;
            sink.add(
                source,
                span,
                format!("addons {} and {} both claim {what} {port}", quote(theirs), quote(ours)),
                "choose another port for one of them",
            )
            .about(Subject::Port(port))
            .related(
                &other.document.source,
                *there,
                format!("claimed by {}", quote(theirs)),
            );
        }
    }
}

/// A plugin's claim on something that only one may have.
struct Claim<'r> {
    plugin: &'r PluginFile,
    span: Span,
}

/// Adds a finding at every claim after the first, showing the first too.
fn report_conflict(
    claims: &[Claim<'_>],
    what: &str,
    subject: &Subject,
    help: &str,
    sink: &mut FindingSink<'_>,
) {
    let Some((first, rest)) = claims.split_first() else {
        return;
    };
    for claim in rest {
        let (ours, theirs) = (&claim.plugin.stem, &first.plugin.stem);
        sink.add(
            &claim.plugin.document.source,
            claim.span,
            format!("plugins {} and {} both claim {what}", quote(theirs), quote(ours)),
            help,
        )
        .label(format!("claimed by {}", quote(ours)))
        .about(subject.clone())
        .about(Subject::Plugin(ours.clone()))
        .about(Subject::Plugin(theirs.clone()))
        .related(
            &first.plugin.document.source,
            first.span,
            format!("claimed by {}", quote(theirs)),
        );
    }
}
