//! Runs the rules on a release repository or on a change of it.

mod proposed_policy;
mod suppress;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::finding::{Finding, Severity};
use crate::parallel;
use crate::policy::{POLICY_FILE, Policy};
use crate::report::Report;
use crate::repository::{Change, ReleaseRepository};
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::rules;
use crate::source::SourceFile;
use crate::tree::Tree;
use crate::yaml;

/// Checks one state of a release repository.
///
/// To use the repository for more than this check, or to add rules, load it once and use [`Check`].
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
    Check::new(&ReleaseRepository::load(tree.clone(), policy.clone())).run()
}

/// Checks a change of a release repository, from `base` to `head`.
///
/// Findings that the base has too are marked as preexisting.
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
    let policy = Arc::new(policy.clone());
    let base = ReleaseRepository::load(base.clone(), Arc::clone(&policy));
    Check::new(&ReleaseRepository::load(head.clone(), policy)).with_base(&base).run()
}

/// A check of a loaded repository, with its optional inputs.
///
/// All repositories of one check must be loaded with the same policy.
#[derive(Debug, Clone)]
pub struct Check<'c> {
    head: &'c ReleaseRepository,
    base: Option<&'c ReleaseRepository>,
    changed: Option<&'c BTreeSet<String>>,
    products: BTreeMap<String, &'c ReleaseRepository>,
    proposed: Option<&'c Policy>,
    rules: Vec<&'static Rule>,
    ignores_exceptions: bool,
}

impl<'c> Check<'c> {
    /// Creates a check of one state of a repository.
    pub fn new(head: &'c ReleaseRepository) -> Self {
        Self {
            head,
            base: None,
            changed: None,
            products: BTreeMap::new(),
            proposed: None,
            rules: rules::ALL.to_vec(),
            ignores_exceptions: false,
        }
    }

    /// Sets the base, and checks the change from it too.
    #[must_use]
    pub fn with_base(mut self, base: &'c ReleaseRepository) -> Self {
        self.base = Some(base);
        self
    }

    /// Sets the paths that the change touches, as version control reports them.
    ///
    /// They include paths whose file mode changed. By default, the paths whose contents differ are
    /// used.
    #[must_use]
    pub fn with_changed_paths(mut self, paths: &'c BTreeSet<String>) -> Self {
        self.changed = Some(paths);
        self
    }

    /// Sets the policy that the change proposes, to compare it with the current one.
    ///
    /// The report marks the findings that only one of the two policies gives; those of the proposed
    /// policy are notes. Every repository of the check is parsed a second time.
    #[must_use]
    pub fn with_proposed_policy(mut self, policy: &'c Policy) -> Self {
        self.proposed = Some(policy);
        self
    }

    /// Adds the repository at the release of a product version, such as `v2.7.0`.
    ///
    /// Hotfixes for that version are compared with the addons of this repository.
    #[must_use]
    pub fn with_product(
        mut self,
        version: impl Into<String>,
        repository: &'c ReleaseRepository,
    ) -> Self {
        self.products.insert(version.into(), repository);
        self
    }

    /// Adds rules to the built-in ones.
    ///
    /// The policy can set their severities and suppress their findings too; see
    /// [`rules::verify_policy`].
    #[must_use]
    pub fn with_rules(mut self, rules: &[&'static Rule]) -> Self {
        self.rules.extend(rules);
        self
    }

    /// Ignores the severities and the suppressions of the policy.
    ///
    /// Every rule runs with its own severity. Suppressions in comments still apply.
    #[must_use]
    pub fn ignoring_exceptions(mut self) -> Self {
        self.ignores_exceptions = true;
        self
    }

    /// Runs all rules.
    pub fn run(&self) -> Report {
        let report = self.run_once();
        let Some(proposed) = self.proposed else { return report };
        let policy = Arc::new(proposed.clone());
        let head = self.head.reload(&policy);
        let base = self.base.map(|base| base.reload(&policy));
        let products = self.products.iter();
        let products: BTreeMap<_, _> =
            products.map(|(version, product)| (version, product.reload(&policy))).collect();
        let products = products.iter().map(|(version, product)| ((*version).clone(), product));
        let check = Check {
            head: &head,
            base: base.as_ref(),
            changed: self.changed,
            products: products.collect(),
            proposed: None,
            rules: self.rules.clone(),
            ignores_exceptions: self.ignores_exceptions,
        };
        proposed_policy::compare(report, &check.run_once())
    }

    /// Runs all rules with the policy of the repositories.
    fn run_once(&self) -> Report {
        let mut context = self.context(self.head);
        let base_found = self.base.map(|base| self.findings(&self.context(base)));
        context.change = self.base.map(|base| {
            let paths = match self.changed {
                Some(changed) => changed.iter().map(String::as_str).collect(),
                None => self.head.tree.changed_paths(&base.tree),
            };
            Change { base, paths }
        });
        let mut found = self.findings(&context);
        mark_preexisting(&mut found, &base_found.unwrap_or_default(), &moves(&context));
        let suppressed = suppress::apply(self, &mut found);
        let Found { findings, sources } = found;
        let mut report = Report {
            findings,
            suppressed,
            files: self.head.sources().count() + self.head.unexpected_files.len(),
            sources: BTreeMap::new(),
            rules: self.rules.clone(),
            directory: String::new(),
        };
        report.keep_sources(sources);
        report
    }

    fn context<'r>(&'r self, repository: &'r ReleaseRepository) -> RuleContext<'r> {
        let addons = self.products.iter();
        let base_addons = addons.map(|(version, product)| (&**version, &*product.addons)).collect();
        RuleContext { repository, change: None, base_addons }
    }

    /// Returns the findings of all rules, and the sources that they point into.
    fn findings(&self, context: &RuleContext<'_>) -> Found {
        let repository = context.repository;
        let findings_of = |rule: &&'static Rule| self.findings_of(rule, context);
        let findings: Vec<Finding> = if repository.is_small() {
            self.rules.iter().flat_map(findings_of).collect()
        } else {
            parallel::map(&self.rules, findings_of).into_iter().flatten().collect()
        };
        let mut files = BTreeSet::new();
        for finding in &findings {
            let related = finding.related.iter().map(|related| related.location.file.as_str());
            files.extend(related.chain([finding.location.file.as_str()]));
        }
        let documents = repository.sources().filter(|document| files.contains(document.path()));
        let mut sources: Vec<_> = documents.map(|document| document.source.clone()).collect();
        if files.contains(POLICY_FILE)
            && let Some(bytes) = repository.tree.get(POLICY_FILE)
        {
            sources.push(yaml::read(POLICY_FILE, bytes).0);
        }
        Found { findings, sources }
    }

    /// Returns the findings of one rule, with the severity that the policy sets.
    fn findings_of(&self, rule: &'static Rule, context: &RuleContext<'_>) -> Vec<Finding> {
        let mut found = Vec::new();
        let Some(severity) = self.severity(rule) else { return found };
        let mut sink = FindingSink::new(rule, &mut found);
        (rule.apply)(context, &mut sink);
        sink.finish();
        if self.policy_severities().is_some_and(|severities| severities.contains_key(rule.code)) {
            for finding in &mut found {
                finding.severity = severity;
            }
        }
        found
    }

    /// Returns the severity that the policy sets for a rule, otherwise the rule's own.
    ///
    /// Returns `None` if the policy turns the rule off.
    fn severity(&self, rule: &Rule) -> Option<Severity> {
        let set = self.policy_severities().and_then(|severities| severities.get(rule.code));
        set.copied().unwrap_or(Some(rule.severity))
    }

    /// Returns the severities that the policy sets, unless this check ignores them.
    fn policy_severities(&self) -> Option<&BTreeMap<String, Option<Severity>>> {
        (!self.ignores_exceptions).then_some(&self.head.policy.severities)
    }
}

/// Findings, and the sources that they point into.
#[derive(Default)]
struct Found {
    findings: Vec<Finding>,
    sources: Vec<SourceFile>,
}

/// Marks the findings that the base has too.
///
/// A finding of the base marks one finding of the same rule, file and message. A file that only
/// moved counts as the same file.
fn mark_preexisting(found: &mut Found, base: &Found, moves: &BTreeMap<&str, &str>) {
    let mut left: BTreeMap<(&str, &str, &str, &str), usize> = BTreeMap::new();
    for old in &base.findings {
        let (file, value) = (old.location.file.as_str(), shortened_text(old, &base.sources));
        *left.entry((old.code, file, old.message.as_str(), value)).or_default() += 1;
    }
    for new in &mut found.findings {
        let file = new.location.file.as_str();
        let file = moves.get(file).copied().unwrap_or(file);
        let value = shortened_text(new, &found.sources);
        if let Some(count) = left.get_mut(&(new.code, file, new.message.as_str(), value)) {
            new.preexisting = *count > 0;
            *count = count.saturating_sub(1);
        }
    }
}

/// Returns the whole text at a finding whose message is shortened.
///
/// Returns an empty text for other findings.
/// Findings are compared by this text too, because two long values may share their beginning and
/// end.
fn shortened_text<'s>(finding: &Finding, sources: &'s [SourceFile]) -> &'s str {
    if !finding.message.contains('…') {
        return "";
    }
    let source = sources.iter().find(|source| source.path() == finding.location.file);
    source.and_then(|source| source.text().get(finding.location.span.range())).unwrap_or_default()
}

/// Returns the old path of each file that the change only moved, by its new path.
fn moves<'r>(context: &RuleContext<'r>) -> BTreeMap<&'r str, &'r str> {
    let Some(change) = &context.change else { return BTreeMap::new() };
    let (head, base) = (&context.repository.tree, &change.base.tree);
    let gone = change.paths.iter().copied().filter(|path| !head.contains(path));
    let gone: BTreeMap<&[u8], &str> =
        gone.filter_map(|path| Some((base.get(path)?, path))).collect();
    let new = change.paths.iter().copied().filter(|path| !base.contains(path));
    new.filter_map(|path| Some((path, *gone.get(head.get(path)?)?))).collect()
}
