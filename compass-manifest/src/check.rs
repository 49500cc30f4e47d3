//! Applies the rules to a release repository.

mod proposed_policy;
mod suppress;

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::{Finding, Report};
use crate::parallel;
use crate::policy::{POLICY_FILE, Policy};
use crate::repository::{Change, Document, FileKind, ReleaseRepository};
use crate::rule::{FindingSink, Rule};
use crate::rules;
use crate::source::SourceFile;
use crate::tree::Tree;
use crate::yaml;

/// Judges a release repository as it stands.
///
/// ```
/// use compass_manifest::{Policy, Tree, check};
///
/// let tree: Tree = [("release-plugins/gpu.yaml", "metadata: {name: cpu}\nspec: {}\n")]
///     .into_iter()
///     .collect();
/// let report = check(&tree, &Policy::default());
/// assert!(report.findings().iter().any(|finding| finding.code == "plugin-name-mismatch"));
/// ```
pub fn check(tree: &Tree, policy: &Policy) -> Report {
    Check::new(tree, policy).run()
}

/// Judges a change of a release repository: what stands at its head, and what it does to the base.
/// Findings that stood at the base already are marked so.
///
/// ```
/// use compass_manifest::{Policy, Tree, check_change};
///
/// let tree = |port: u16| -> Tree {
///     let text = format!("metadata: {{name: gpu}}\nspec:\n  version: v0.1.0\n  service:\n    port: {port}\n");
///     [("release-plugins/gpu.yaml", text)].into_iter().collect()
/// };
/// let report = check_change(&tree(80), &tree(81), &Policy::default());
/// let codes: Vec<_> =
///     report.findings().iter().filter(|finding| !finding.preexisting).map(|f| f.code).collect();
/// assert_eq!(codes, ["plugin-version-not-increased"]);
/// ```
pub fn check_change(base: &Tree, head: &Tree, policy: &Policy) -> Report {
    Check::new(head, policy).with_base(base).run()
}

/// A check with all that it may be given.
#[derive(Debug, Clone)]
pub struct Check<'c> {
    tree: &'c Tree,
    policy: &'c Policy,
    base: Option<&'c Tree>,
    changed: Option<&'c BTreeSet<String>>,
    products: BTreeMap<String, &'c Tree>,
    proposed: Option<&'c Policy>,
}

impl<'c> Check<'c> {
    /// Of a repository as it stands.
    pub fn new(tree: &'c Tree, policy: &'c Policy) -> Self {
        Self { tree, policy, base: None, changed: None, products: BTreeMap::new(), proposed: None }
    }

    /// Also of the change that led there from a base.
    #[must_use]
    pub fn with_base(mut self, base: &'c Tree) -> Self {
        self.base = Some(base);
        self
    }

    /// The paths that the change touches, as version control has them: a changed mode counts, and a
    /// file that was only written anew does not. Without it, paths whose contents differ count.
    #[must_use]
    pub fn with_changed_paths(mut self, paths: &'c BTreeSet<String>) -> Self {
        self.changed = Some(paths);
        self
    }

    /// With the policy that the change brings, if it differs from the one that judges. The report
    /// says which findings only one of the two gives; what only the proposed one gives is a note.
    #[must_use]
    pub fn with_proposed_policy(mut self, policy: &'c Policy) -> Self {
        self.proposed = Some(policy);
        self
    }

    /// With the repository as it was when a product version was released, as `v2.7.0`: hotfixes
    /// for that version are compared with its addons.
    #[must_use]
    pub fn with_product(mut self, version: impl Into<String>, tree: &'c Tree) -> Self {
        self.products.insert(version.into(), tree);
        self
    }

    /// Applies all rules.
    pub fn run(&self) -> Report {
        let report = self.judge(self.policy);
        match self.proposed {
            Some(proposed) => proposed_policy::compare(report, &self.judge(proposed)),
            None => report,
        }
    }

    fn judge(&self, policy: &'c Policy) -> Report {
        let mut head = self.release(self.tree, policy);
        let stood = self.base.map(|base| {
            let base = self.release(base, policy);
            let stood = findings(&base);
            let paths = match self.changed {
                Some(changed) => changed.iter().map(String::as_str).collect(),
                None => self.tree.changed_paths(base.tree),
            };
            head.change = Some(Change { paths, base: Box::new(base) });
            stood
        });
        let (mut found, mut sources) = findings(&head);
        let (stood, stood_in) = stood.unwrap_or_default();
        mark_preexisting((&mut found, &sources), (&stood, &stood_in), &moves(&head));
        let (findings, allowed) = suppress::apply(&head, found, &mut sources);
        let mut report = Report {
            findings,
            allowed,
            files: head.sources().count() + head.unexpected_files.len(),
            sources: BTreeMap::new(),
            directory: String::new(),
        };
        report.keep_sources(sources);
        report
    }

    fn release(&self, tree: &'c Tree, policy: &'c Policy) -> ReleaseRepository<'c> {
        let mut release = ReleaseRepository::read(tree, policy);
        for (version, tree) in &self.products {
            let product = ReleaseRepository::read_kinds(tree, policy, |kind| {
                matches!(kind, FileKind::Addon { .. })
            });
            release.base_addons.insert(version.clone(), product.addons);
        }
        release
    }
}

fn findings(release: &ReleaseRepository<'_>) -> (Vec<Finding>, Vec<SourceFile>) {
    let found: Vec<Finding> = if release.is_small() {
        rules::ALL.iter().flat_map(|rule| findings_of(rule, release)).collect()
    } else {
        parallel::map(rules::ALL, |rule| findings_of(rule, release)).into_iter().flatten().collect()
    };
    let wanted = |document: &&Document| {
        found.iter().any(|finding| {
            finding.location.file == document.path()
                || finding.related.iter().any(|related| related.location.file == document.path())
        })
    };
    let mut sources: Vec<SourceFile> = if found.is_empty() {
        Vec::new()
    } else {
        release.sources().filter(wanted).map(|document| document.source.clone()).collect()
    };
    if found.iter().any(|finding| finding.location.file == POLICY_FILE)
        && let Some(bytes) = release.tree.get(POLICY_FILE)
    {
        sources.push(yaml::read(POLICY_FILE, bytes).0);
    }
    (found, sources)
}

/// What one rule finds, with the severity that the policy gives it.
fn findings_of(rule: &'static Rule, release: &ReleaseRepository<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let severity = match release.policy.severities.get(rule.code) {
        Some(None) => return found,
        Some(Some(severity)) => Some(*severity),
        None => None,
    };
    let mut findings = FindingSink::new(rule, &mut found);
    (rule.apply)(release, &mut findings);
    findings.finish();
    if let Some(severity) = severity {
        for finding in &mut found {
            finding.severity = severity;
        }
    }
    found
}

/// A finding stood already where the base has one of the same rule in the same file that says the
/// same; as many as there were. A file that only moved is the same.
fn mark_preexisting(
    (found, found_in): (&mut [Finding], &[SourceFile]),
    (stood, stood_in): (&[Finding], &[SourceFile]),
    moves: &BTreeMap<&str, &str>,
) {
    let mut left: BTreeMap<(&str, &str, &str, &str), usize> = BTreeMap::new();
    for old in stood {
        let key = (old.code, old.location.file.as_str(), old.message.as_str());
        *left.entry((key.0, key.1, key.2, shortened(old, stood_in))).or_default() += 1;
    }
    for new in found {
        let file = new.location.file.as_str();
        let file = moves.get(file).copied().unwrap_or(file);
        let value = shortened(new, found_in);
        if let Some(count) = left.get_mut(&(new.code, file, new.message.as_str(), value)) {
            new.preexisting = *count > 0;
            *count = count.saturating_sub(1);
        }
    }
}

/// The whole text that a finding is about, if its message shows only a part: two long values may have
/// the same beginning and end.
fn shortened<'s>(finding: &Finding, sources: &'s [SourceFile]) -> &'s str {
    if !finding.message.contains('…') {
        return "";
    }
    let source = sources.iter().find(|source| source.path() == finding.location.file);
    source.and_then(|source| source.text().get(finding.location.span.range())).unwrap_or_default()
}

/// Where the files came from that the change only moved.
fn moves<'p>(head: &ReleaseRepository<'p>) -> BTreeMap<&'p str, &'p str> {
    let Some(change) = &head.change else { return BTreeMap::new() };
    let base = change.base.tree;
    let gone = change.paths.iter().copied().filter(|path| !head.tree.contains(path));
    let gone: BTreeMap<&[u8], &str> =
        gone.filter_map(|path| Some((base.get(path)?, path))).collect();
    let new = change.paths.iter().copied().filter(|path| !base.contains(path));
    new.filter_map(|path| Some((path, *gone.get(head.tree.get(path)?)?))).collect()
}
