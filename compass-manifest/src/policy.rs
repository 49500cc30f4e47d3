//! The policy of a release repository: `.compass.yaml`.
//!
//! [`Policy::default`] names no real registry, store or account; [`Policy::overlay`] lets an embedder
//! provide its own values for those that a file omits. Parsing stops at the first error, so that no
//! part of an invalid policy is used.

mod hotfixes;
mod pattern;
mod plugins;
mod products;
mod registries;
mod review;
mod scope;
mod suppression;
mod templates;
mod value;

use std::collections::BTreeMap;

use crate::decode;
use crate::escape::{escape, quote};
use crate::finding::{Location, Severity};
use crate::schema::Schema::{Any, Fields, List, MapOf, OneOf, Scalar, Text};
use crate::schema::{Schema, Table, optional, required, validate};
use crate::source::{SourceFile, Span, Spanned};
use crate::yaml::{self, Node, SyntaxError};

pub use hotfixes::{HotfixPolicy, PathPattern, VersionFormat};
pub(crate) use pattern::MAX_PATTERNS;
pub use pattern::{MAX_PATTERN_BYTES, Pattern, PatternError};
pub use plugins::PluginPolicy;
pub use products::ProductPolicy;
pub use registries::{Host, Project, Registries};
pub use review::{OwnerEntry, ReviewPolicy};
pub use scope::ScopePolicy;
pub use suppression::Suppression;
pub use templates::{TemplateValue, Templates};

use value::{ValueError, value_error};

/// The path of the policy in a release repository.
pub const POLICY_FILE: &str = ".compass.yaml";

/// The settings of a release repository.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Policy {
    /// The registries, and how their projects map onto each other.
    pub registries: Registries,
    /// The URL of the store that bundles are published to.
    pub store: Option<String>,
    /// The platforms that are packaged, such as `linux/amd64`.
    ///
    /// Formats with a single platform use the first one.
    pub platforms: Vec<String>,
    /// The settings for plugins.
    pub plugins: PluginPolicy,
    /// The settings for hotfixes.
    pub hotfixes: HotfixPolicy,
    /// The settings for products and their addons.
    pub products: ProductPolicy,
    /// The template variables, such as `[[ registry_release ]]`.
    pub templates: Templates,
    /// The severities by rule code, which replace those of the rules.
    ///
    /// `None` turns a rule off.
    pub severities: BTreeMap<String, Option<Severity>>,
    /// The accepted findings.
    pub suppressions: Vec<Suppression>,
    /// The files that a pull request may change together with a plugin or hotfix.
    pub scope: ScopePolicy,
    /// The reviewers, their roles, and the release queue.
    pub review: ReviewPolicy,
    pub(crate) source: Option<SourceFile>,
    /// Every rule code in the file, for [`verify_policy`](crate::rules::verify_policy).
    ///
    /// Parsing does not look up the codes: rules read the policy, so the policy must not depend on
    /// them.
    pub(crate) rule_codes: Vec<Spanned<String>>,
}

/// The first error in a policy file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {}", escape(message))]
#[non_exhaustive]
pub struct PolicyError {
    /// The location of the error.
    pub location: Location,
    /// The problem, in one line.
    pub message: String,
    /// How to fix it.
    pub help: String,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            registries: Registries::default(),
            store: None,
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
            rule_codes: Vec::new(),
        }
    }
}

impl Policy {
    /// Parses a policy file. Omitted values are those of [`Policy::default`].
    ///
    /// Rule codes are not verified: call [`rules::verify_policy`](crate::rules::verify_policy) for
    /// that.
    ///
    /// # Errors
    /// Returns the first YAML error, schema violation or invalid value in the file.
    pub fn parse(source: &SourceFile) -> Result<Self, PolicyError> {
        Self::default().with_file(source)
    }

    /// Parses the bytes of a policy file. Omitted values are those of this policy.
    ///
    /// # Errors
    /// Returns the errors of [`Policy::parse`], and an error if the bytes are not UTF-8 text.
    ///
    /// ```
    /// use compass_manifest::Policy;
    ///
    /// let mut company = Policy::default();
    /// company.store = Some("s3://releases".to_owned());
    /// let policy = company.overlay(".compass.yaml", b"version: 1\nplatforms: [linux/arm64]\n")?;
    /// assert_eq!(policy.store.as_deref(), Some("s3://releases"));
    /// assert_eq!(policy.platforms, ["linux/arm64"]);
    /// # Ok::<(), compass_manifest::policy::PolicyError>(())
    /// ```
    pub fn overlay(&self, path: &str, bytes: &[u8]) -> Result<Self, PolicyError> {
        let (source, text) = decode::read(path, bytes);
        text.map_err(|error| PolicyError::of_syntax(&source, error))?;
        self.clone().with_file(&source)
    }

    fn with_file(mut self, source: &SourceFile) -> Result<Self, PolicyError> {
        let error = |span, message, help| PolicyError {
            location: Location::new(source, span),
            message,
            help,
        };
        let root =
            yaml::parse(source.text()).map_err(|syntax| PolicyError::of_syntax(source, syntax))?;
        if let Some(violation) = validate(&root, SCHEMA).into_iter().next() {
            return Err(error(violation.span, violation.message, violation.help));
        }
        if let Some(duplicate) = root.duplicate_keys().first() {
            let key = quote(duplicate.again.text().unwrap_or_default());
            let message = format!("{key} is a duplicate key in this mapping");
            return Err(error(duplicate.again.span, message, "keep one of them".to_owned()));
        }
        // The positions that the policy keeps are those of one file.
        self.rule_codes.clear();
        self.suppressions.iter_mut().for_each(|known| known.span = Span::default());
        FIELDS.read(&root, &mut self).map_err(|it| error(it.span, it.message, it.help))?;
        self.source = Some(source.clone());
        Ok(self)
    }

    fn read_severities(&mut self, node: &Node) -> Result<(), ValueError> {
        for entry in node.entries() {
            let severity = match entry.value.text().unwrap_or_default() {
                "off" => None,
                "note" => Some(Severity::Note),
                "warning" => Some(Severity::Warning),
                "error" => Some(Severity::Error),
                other => {
                    let message = format!("{} is not a severity", quote(other));
                    let help = "write `error`, `warning`, `note` or `off`";
                    return Err(value_error(entry.value.span, message, help));
                }
            };
            let code = value::text(&entry.key);
            self.rule_codes.push(Spanned { value: code.clone(), span: entry.key.span });
            self.severities.insert(code, severity);
        }
        Ok(())
    }

    fn read_suppressions(&mut self, node: &Node) -> Result<(), ValueError> {
        for suppression in suppression::FIELDS.items(node)? {
            let Suppression { code, span, .. } = &suppression;
            self.rule_codes.push(Spanned { value: code.clone(), span: *span });
            self.suppressions.push(suppression);
        }
        Ok(())
    }
}

impl PolicyError {
    fn of_syntax(source: &SourceFile, error: SyntaxError) -> Self {
        Self {
            location: Location::new(source, error.span),
            message: error.message,
            help: error.help.unwrap_or_default().to_owned(),
        }
    }
}

/// The schema of a policy file.
pub(crate) const SCHEMA: Schema = Fields(&FIELDS);

const FIELDS: Table<Policy, ValueError> = Table(&[
    required("version", Scalar).try_set(|_, node| match node.text() {
        Some("1") => Ok(()),
        _ => {
            let message = "the policy version is not supported";
            Err(value_error(node.span, message, "write `version: 1`"))
        }
    }),
    optional("registries", Fields(&registries::FIELDS))
        .try_set(|it, node| registries::FIELDS.read(node, &mut it.registries)),
    optional("store", Text)
        .try_set(|it, node| value::store_url(node).map(|url| it.store = Some(url))),
    optional("platforms", List(&Text))
        .try_set(|it, node| value::platforms(node).map(|all| it.platforms = all)),
    optional("plugins", Fields(&plugins::FIELDS))
        .try_set(|it, node| plugins::FIELDS.read(node, &mut it.plugins)),
    optional("hotfixes", Fields(&hotfixes::FIELDS))
        .try_set(|it, node| hotfixes::FIELDS.read(node, &mut it.hotfixes)),
    optional("products", Fields(&products::FIELDS))
        .try_set(|it, node| products::FIELDS.read(node, &mut it.products)),
    // After the registries, whose projects the values name.
    optional("templates", MapOf(&Any)).try_set(|it, node| it.templates.read(node, &it.registries)),
    optional("rules", MapOf(&OneOf(&["error", "warning", "note", "off"])))
        .try_set(Policy::read_severities),
    optional("allow", List(&Fields(&suppression::FIELDS))).try_set(Policy::read_suppressions),
    optional("scope", Fields(&scope::FIELDS))
        .try_set(|it, node| scope::FIELDS.read(node, &mut it.scope)),
    optional("review", Fields(&review::FIELDS)).try_set(|it, node| it.review.read(node)),
]);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(&SourceFile::new(POLICY_FILE, text))
    }

    #[test]
    fn policy_missing_keys_have_defaults() {
        let policy = parse("version: 1\nplugins: {shared_slots: ['*.plugin_center']}\n").unwrap();
        assert_eq!(policy.registries.release, "harbor.example/release");
        assert!(policy.plugins.shared_slots[0].matches("user.plugin_center"));
        assert!(!policy.plugins.shared_slots[0].matches("user.plugin_center.x"));
        assert_eq!(policy.hotfixes.namespaces, ["default", "kube-system"]);
        assert!(policy.store.is_none() && policy.review.cc.is_empty());
    }

    #[test]
    fn policy_unknown_field_suggests_known_one() {
        let error = parse("version: 1\nplugins:\n  shared_slot: []\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            ".compass.yaml:3:3: `plugins.shared_slot` is not a known field"
        );
        assert_eq!(error.help, "did you mean `shared_slots`?");
    }

    #[test]
    fn policy_invalid_values_are_errors() {
        for (text, expected) in [
            ("version: 2\n", "version is not supported"),
            ("store: oss://x\n", "`version` is missing"),
            ("version: 1\nstore: /tmp/x\n", "not the URL of a store"),
            ("version: 1\nplugins: {}\nplugins: {}\n", "`plugins` is a duplicate key"),
            ("version: 1\nreview: {queue: [{to: a, to: b, who: []}]}\n", "`to` is a duplicate key"),
            ("version: 1\nplatforms: [linux]\n", "not a platform"),
            ("version: 1\nplatforms: []\n", "no platform"),
            ("version: 1\nregistries: {release: harbor.example}\n", "with a project"),
            ("version: 1\nregistries: {projects: {x: {source: A, release: b}}}\n", "not a project"),
            ("version: 1\nplugins: {directory: ../x}\n", "not a directory inside"),
            ("version: 1\nplugins: {directory: [a, /b]}\n", "not a directory inside"),
            ("version: 1\nplugins: {shared_ports: [99999]}\n", "should be a port"),
            (
                "version: 1\nhotfixes: {patterns: [{path: '(', version: hotfix}]}\n",
                "not a valid regular",
            ),
            ("version: 1\nhotfixes: {patterns: [{path: 'x', version: hotfix}]}\n", "has no group"),
            (
                "version: 1\nhotfixes: {patterns: [{path: '(?P<version>x)', version: semver}]}\n",
                "not a version format",
            ),
            ("version: 1\nrules: {slot-conflict: fatal}\n", "not a severity"),
            ("version: 1\nproducts: {image_lists: ['l/{a,b}.list']}\n", "unsupported wildcard"),
            ("version: 1\nproducts: {image_lists: ['!l/a.list']}\n", "unsupported wildcard"),
            ("version: 1\nallow: [{code: slot-conflict}]\n", "`allow[0].reason` is missing"),
            ("version: 1\nallow: [{code: slot-conflict, reason: ' '}]\n", "no reason"),
            ("version: 1\ntemplates: {x: '{nowhere}'}\n", "not a project"),
            ("version: 1\nreview: {cc: [carol]}\n", "not an account"),
            ("version: 1\nreview: {queue: [{to: done, who: []}]}\n", "no role may request"),
            ("version: 1\nreview: {queue: [{to: done, who: [author], guards: [luck]}]}\n", "luck"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn policy_hostile_patterns_are_errors() {
        let long = "a".repeat(1_000_000);
        let many = "'*a', ".repeat(3_000);
        for (text, place, expected) in [
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
                "needs too much memory",
            ),
            (
                format!("hotfixes: {{patterns: [{}]}}", "{path: x, version: none}, ".repeat(65)),
                "2:22",
                "has 65 patterns",
            ),
        ] {
            let error = parse(&format!("version: 1\n{text}\n")).unwrap_err().to_string();
            assert!(error.starts_with(&format!(".compass.yaml:{place}: ")), "{error}");
            assert!(error.contains(expected) && error.len() < 200, "{error}");
        }
    }
}
