//! The policy of a release repository: `.compass.yaml`.
//!
//! What the file leaves out is the written process, which [`Policy::default`] holds. A policy is
//! used whole or not at all: the first thing in it that is wrong is an error with its place.

mod hotfixes;
mod pattern;
mod plugins;
mod products;
mod registries;
mod review;
mod schema;
mod scope;
mod suppression;
mod templates;
mod value;

use std::collections::BTreeMap;

use crate::decode;
use crate::escape::{escape, quote};
use crate::finding::{Location, Severity};
use crate::rules;
use crate::schema::compare;
use crate::source::SourceFile;
use crate::yaml::{self, Node};

pub use hotfixes::{HotfixPolicy, PathPattern, VersionFormat};
pub(crate) use pattern::MAX_PATTERNS;
pub use pattern::{MAX_PATTERN_BYTES, Pattern, PatternError};
pub use plugins::PluginPolicy;
pub use products::ProductPolicy;
pub use registries::{Host, Project, Registries};
pub use review::ReviewPolicy;
pub use scope::ScopePolicy;
pub use suppression::Suppression;
pub use templates::{TemplateValue, Templates};

use value::{ValueError, value_error};

/// Where the policy stands in a release repository.
pub const POLICY_FILE: &str = ".compass.yaml";

/// What a release repository decides for itself. [`Policy::default`] is the written process.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The registries, and how their projects map onto each other.
    pub registries: Registries,
    /// Where bundles are published to, as a URL.
    pub store: String,
    /// The platforms that are packaged, as `linux/amd64`; the first one stands for an image where
    /// only one can.
    pub platforms: Vec<String>,
    /// What holds for plugins.
    pub plugins: PluginPolicy,
    /// What holds for hotfixes.
    pub hotfixes: HotfixPolicy,
    /// What holds for products and their addons.
    pub products: ProductPolicy,
    /// The template variables, as `[[ registry_release ]]`.
    pub templates: Templates,
    /// The severities that differ from a rule's own; `None` turns a rule off.
    pub severities: BTreeMap<&'static str, Option<Severity>>,
    /// Findings that are meant to be so.
    pub suppressions: Vec<Suppression>,
    /// What one pull request may touch.
    pub scope: ScopePolicy,
    /// Who must know of a release, and the queue that it moves through.
    pub review: ReviewPolicy,
    pub(crate) source: Option<SourceFile>,
}

/// Why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {}", escape(message))]
pub struct PolicyError {
    /// Where.
    pub location: Location,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            registries: Registries::default(),
            store: "oss://infra-release".to_owned(),
            platforms: vec!["linux/amd64".to_owned()],
            plugins: PluginPolicy::default(),
            hotfixes: HotfixPolicy::default(),
            products: ProductPolicy::default(),
            templates: Templates::default(),
            severities: BTreeMap::new(),
            suppressions: Vec::new(),
            scope: ScopePolicy::default(),
            review: ReviewPolicy::default(),
            source: None,
        }
    }
}

impl Policy {
    /// Reads the bytes of a policy file, as [`Policy::parse`] does.
    ///
    /// # Errors
    /// As [`Policy::parse`]; also if the bytes are not UTF-8 text.
    pub fn read(path: &str, bytes: &[u8]) -> Result<Self, PolicyError> {
        let (source, text) = decode::read(path, bytes);
        text.map_err(|error| PolicyError {
            location: Location::new(&source, error.span),
            message: error.message,
            help: error.help.unwrap_or_default().to_owned(),
        })?;
        Self::parse(&source)
    }

    /// Reads a policy file; what it leaves out is as in [`Policy::default`].
    ///
    /// # Errors
    /// The first thing in the file that is wrong, with its place: a policy is used whole or not at
    /// all.
    pub fn parse(source: &SourceFile) -> Result<Self, PolicyError> {
        let error = |span, message, help| PolicyError {
            location: Location::new(source, span),
            message,
            help,
        };
        let root = yaml::parse(source.text()).map_err(|syntax| {
            error(syntax.span, syntax.message, syntax.help.unwrap_or_default().to_owned())
        })?;
        if let Some(violation) = compare(&root, schema::POLICY).into_iter().next() {
            return Err(error(violation.span, violation.message, violation.help));
        }
        if let Some(duplicate) = root.duplicate_keys().first() {
            let key = quote(duplicate.again.text().unwrap_or_default());
            let message = format!("{key} stands twice in this mapping");
            return Err(error(duplicate.again.span, message, "keep one of them".to_owned()));
        }
        let mut policy = Self::default();
        policy.read_fields(&root).map_err(|wrong| error(wrong.span, wrong.message, wrong.help))?;
        policy.source = Some(source.clone());
        Ok(policy)
    }

    fn read_fields(&mut self, root: &Node) -> Result<(), ValueError> {
        if let Some(version) = root.get("version").filter(|version| version.text() != Some("1")) {
            return Err(value_error(
                version,
                "only policy version 1 is known",
                "write `version: 1`",
            ));
        }
        if let Some(registries) = root.get("registries") {
            self.registries.read(registries)?;
        }
        if let Some(store) = root.get("store") {
            self.store = value::store_url(store)?;
        }
        if let Some(platforms) = root.get("platforms") {
            self.platforms =
                platforms.items().iter().map(value::platform).collect::<Result<_, _>>()?;
            if self.platforms.is_empty() {
                return Err(value_error(
                    platforms,
                    "no platform is listed",
                    "write `[linux/amd64]`",
                ));
            }
        }
        if let Some(templates) = root.get("templates") {
            self.templates.read(templates, &self.registries)?;
        }
        let part = |key| root.get(key);
        part("plugins").map_or(Ok(()), |node| self.plugins.read(node))?;
        part("hotfixes").map_or(Ok(()), |node| self.hotfixes.read(node))?;
        part("products").map_or(Ok(()), |node| self.products.read(node))?;
        part("rules").map_or(Ok(()), |node| self.read_severities(node))?;
        for node in part("allow").map(Node::items).unwrap_or_default() {
            self.suppressions.push(Suppression::read(node)?);
        }
        if let Some(scope) = part("scope") {
            self.scope.read(scope);
        }
        part("review").map_or(Ok(()), |node| self.review.read(node))
    }

    fn read_severities(&mut self, node: &Node) -> Result<(), ValueError> {
        for entry in node.entries() {
            let code = known_rule(&entry.key)?;
            let severity = match entry.value.text().unwrap_or_default() {
                "off" => None,
                "note" => Some(Severity::Note),
                "warning" => Some(Severity::Warning),
                "error" => Some(Severity::Error),
                other => {
                    return Err(value_error(
                        &entry.value,
                        format!("{} is not a severity", quote(other)),
                        "write `error`, `warning`, `note` or `off`",
                    ));
                }
            };
            self.severities.insert(code, severity);
        }
        Ok(())
    }
}

/// The code of a rule that a policy names.
fn known_rule(node: &Node) -> Result<&'static str, ValueError> {
    let text = node.text().unwrap_or_default();
    if let Some(rule) = rules::find(text) {
        return Ok(rule.code);
    }
    let help = rules::suggest(text).map_or_else(
        || "`compass explain` lists the rules".to_owned(),
        |known| format!("did you mean {}?", quote(known.code)),
    );
    Err(value_error(node, format!("there is no rule {}", quote(text)), help))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(&SourceFile::new(POLICY_FILE, text))
    }

    #[test]
    fn what_a_policy_leaves_out_is_the_written_process() {
        let policy = parse("version: 1\nplugins: {shared_slots: ['*.plugin_center']}\n").unwrap();
        assert_eq!(policy.registries.release, "harbor.caicloud.xyz/release");
        assert!(policy.plugins.shared_slots[0].matches("user.plugin_center"));
        assert!(!policy.plugins.shared_slots[0].matches("user.plugin_center.x"));
        assert_eq!(policy.hotfixes.namespaces, ["default", "kube-system"]);
        assert_eq!(policy.review.cc, ["@supereagle", "@pendoragon"]);
    }

    #[test]
    fn a_mistake_is_shown_at_its_place_with_a_suggestion() {
        let error = parse("version: 1\nplugins:\n  shared_slot: []\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            ".compass.yaml:3:3: `plugins.shared_slot` is not a known field"
        );
        assert_eq!(error.help, "did you mean `shared_slots`?");
        let error = parse("version: 1\nrules:\n  slot-conflikt: off\n").unwrap_err();
        assert_eq!(error.to_string(), ".compass.yaml:3:3: there is no rule `slot-conflikt`");
        assert_eq!(error.help, "did you mean `slot-conflict`?");
    }

    #[test]
    fn values_are_checked_when_the_policy_is_read() {
        for (text, says) in [
            ("version: 2\n", "only policy version 1"),
            ("store: oss://x\n", "`version` is missing"),
            ("version: 1\nstore: /tmp/x\n", "not the URL of a store"),
            ("version: 1\nplugins: {}\nplugins: {}\n", "`plugins` stands twice"),
            ("version: 1\nreview: {queue: [{to: a, to: b, who: []}]}\n", "`to` stands twice"),
            ("version: 1\nplatforms: [linux]\n", "not a platform"),
            ("version: 1\nplatforms: []\n", "no platform"),
            ("version: 1\nregistries: {release: harbor.example}\n", "with a project"),
            ("version: 1\nregistries: {projects: {x: {source: A, release: b}}}\n", "not a project"),
            ("version: 1\nplugins: {directory: ../x}\n", "not a directory inside"),
            ("version: 1\nplugins: {directory: [a, /b]}\n", "not a directory inside"),
            ("version: 1\nplugins: {shared_ports: [99999]}\n", "should be a port"),
            ("version: 1\nhotfixes: {patterns: [{path: '(', version: hotfix}]}\n", "not a regular"),
            ("version: 1\nhotfixes: {patterns: [{path: 'x', version: hotfix}]}\n", "has no group"),
            (
                "version: 1\nhotfixes: {patterns: [{path: '(?P<version>x)', version: semver}]}\n",
                "not a version form",
            ),
            ("version: 1\nrules: {slot-conflict: fatal}\n", "not a severity"),
            (
                "version: 1\nproducts: {image_lists: ['l/{a,b}.list']}\n",
                "wildcard that is not known",
            ),
            ("version: 1\nproducts: {image_lists: ['!l/a.list']}\n", "wildcard that is not known"),
            ("version: 1\nallow: [{code: slot-conflict}]\n", "`allow[0].reason` is missing"),
            ("version: 1\nallow: [{code: slot-conflict, reason: ' '}]\n", "no reason"),
            ("version: 1\nallow: [{code: no-rule, reason: x}]\n", "there is no rule"),
            ("version: 1\ntemplates: {x: '{nowhere}'}\n", "not a project"),
            ("version: 1\nreview: {cc: [supereagle]}\n", "not an account"),
            ("version: 1\nreview: {queue: [{to: done, who: []}]}\n", "nobody may ask"),
            ("version: 1\nreview: {queue: [{to: done, who: [author], guards: [luck]}]}\n", "luck"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn policy_hostile_patterns_are_errors() {
        let long = "a".repeat(1_000_000);
        let many = "'*a', ".repeat(3_000);
        for (text, place, says) in [
            (format!("plugins: {{shared_slots: ['{long}*']}}"), "2:26", "at most 1024"),
            (format!("plugins: {{shared_slots: '{long}*'}}"), "2:25", "at most 1024"),
            (format!("plugins: {{shared_slots: [{many}]}}"), "2:25", "has 3000 patterns"),
            (format!("products: {{image_lists: ['{long}']}}"), "2:26", "at most 1024"),
            (
                format!("allow: [{{code: slot-conflict, file: '{long}', reason: x}}]"),
                "2:37",
                "at most 1024",
            ),
            (
                "hotfixes: {patterns: [{path: '((\\w{100}){100}){100}', version: none}]}".into(),
                "2:30",
                "takes too much memory",
            ),
            (
                format!("hotfixes: {{patterns: [{}]}}", "{path: x, version: none}, ".repeat(65)),
                "2:22",
                "has 65 patterns",
            ),
        ] {
            let error = parse(&format!("version: 1\n{text}\n")).unwrap_err().to_string();
            assert!(error.starts_with(&format!(".compass.yaml:{place}: ")), "{error}");
            assert!(error.contains(says) && error.len() < 200, "{error}");
        }
    }
}
