//! Defines the interface of a rule: its description, its input and its output.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::escape::{escape, escape_lines};
pub use crate::finding::BlocksPackaging;
use crate::finding::{Finding, Location, Severity};
use crate::repository::{AddonFile, Change, ReleaseRepository};
use crate::source::{SourceFile, Span};

/// A rule: its code, its documentation, and the function that applies it.
///
/// [`crate::rules::ALL`] has the built-in rules, one for each file in `rules/`.
/// [`Check::with_rules`](crate::Check::with_rules) adds own rules:
///
/// ```
/// use compass_manifest::rule::{FindingSink, Rule, RuleContext};
/// use compass_manifest::finding::Severity;
/// use compass_manifest::{Check, Policy, ReleaseRepository, Tree};
///
/// static NAME_LENGTH: Rule = Rule::new("name-length", "a plugin has a short name", name_length)
///     .with_severity(Severity::Warning);
///
/// fn name_length(context: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
///     for plugin in context.repository().plugins() {
///         let Some(name) = &plugin.manifest.name else { continue };
///         if name.value.len() > 8 {
///             sink.add(&plugin.document.source, name.span, "the name is too long", "shorten it");
///         }
///     }
/// }
///
/// let tree: Tree =
///     [("release-plugins/gpu-manager.yaml", "metadata: {name: gpu-manager}\n")].into_iter().collect();
/// let repository = ReleaseRepository::load(tree, Policy::default());
/// let report = Check::new(&repository).with_rules(&[&NAME_LENGTH]).run();
/// assert!(report.findings().iter().any(|finding| finding.code == "name-length"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Rule {
    /// The stable code, in kebab case.
    pub code: &'static str,
    /// The requirement of the rule, in one line.
    pub summary: &'static str,
    /// The severity of its findings, unless the policy sets another.
    pub severity: Severity,
    /// The documentation.
    pub docs: RuleDocs,
    /// The files in which an error of the rule blocks packaging.
    pub blocks_packaging: BlocksPackaging,
    /// Whether the rule needs the layout of a repository, so that it does not apply to the files of
    /// a bundle.
    pub needs_layout: bool,
    /// Adds the rule's findings to the sink.
    pub(crate) apply: Apply,
}

/// The documentation of a rule: the four sections of its page, in Markdown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RuleDocs {
    /// What the rule checks.
    pub what: &'static str,
    /// Why a violation is bad.
    pub why: &'static str,
    /// A violation.
    pub example: &'static str,
    /// How to fix a violation.
    pub fix: &'static str,
}

/// The function of a rule, which adds the rule's findings to the sink.
pub type Apply = fn(&RuleContext<'_>, &mut FindingSink<'_>);

/// The input of a rule: a repository, and the change that is checked.
#[derive(Debug)]
pub struct RuleContext<'r> {
    pub(crate) repository: &'r ReleaseRepository,
    /// The checked change; `None` if a state is checked.
    pub(crate) change: Option<Change<'r>>,
    /// The addons of released product versions, by version.
    pub(crate) base_addons: BTreeMap<&'r str, &'r [AddonFile]>,
}

/// The maximum number of findings of one rule that are shown for a file.
///
/// A file that is not a release manifest can have hundreds of thousands of findings.
pub(crate) const MAX_FINDINGS_PER_FILE: usize = 50;

/// Collects the findings of one rule, up to 50 for each file.
#[derive(Debug)]
pub struct FindingSink<'f> {
    rule: &'static Rule,
    found: &'f mut Vec<Finding>,
    /// The number of findings of each file, and the index of the last one that is kept.
    files: HashMap<String, (usize, usize)>,
    /// Receives the details of findings that are over the limit.
    discarded: Finding,
}

impl<'r> RuleContext<'r> {
    /// Returns the checked repository.
    pub fn repository(&self) -> &'r ReleaseRepository {
        self.repository
    }

    /// Returns the base of the checked change; `None` if a state is checked.
    pub fn base(&self) -> Option<&'r ReleaseRepository> {
        self.change.as_ref().map(|change| change.base)
    }

    /// Returns whether the checked change touches a path.
    pub fn touches(&self, path: &str) -> bool {
        self.change.as_ref().is_some_and(|change| change.touches(path))
    }
}

impl<'f> FindingSink<'f> {
    pub(crate) fn new(rule: &'static Rule, found: &'f mut Vec<Finding>) -> Self {
        let location = Location::new(&SourceFile::new("", ""), Span::default());
        let discarded = rule.finding(location, "", "");
        Self { rule, found, files: HashMap::new(), discarded }
    }

    /// Adds a finding with its text escaped.
    ///
    /// Returns the finding, so that the rule can add details.
    pub fn add(
        &mut self,
        source: &SourceFile,
        span: Span,
        message: impl AsRef<str>,
        help: impl AsRef<str>,
    ) -> &mut Finding {
        if !self.files.contains_key(source.path()) {
            self.files.insert(source.path().to_owned(), (0, 0));
        }
        let Some((count, last)) = self.files.get_mut(source.path()) else {
            return &mut self.discarded;
        };
        *count += 1;
        if *count > MAX_FINDINGS_PER_FILE {
            self.discarded.related.clear();
            self.discarded.subjects.clear();
            return &mut self.discarded;
        }
        *last = self.found.len();
        self.found.push(self.rule.finding(Location::new(source, span), message, help));
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    /// Returns whether further findings in a file would be discarded.
    pub(crate) fn is_full(&self, source: &SourceFile) -> bool {
        self.files.get(source.path()).is_some_and(|(count, _)| *count > MAX_FINDINGS_PER_FILE)
    }

    /// Appends the number of discarded findings to the last kept finding of each file.
    pub(crate) fn finish(self) {
        let full = |(count, _): &(usize, usize)| *count > MAX_FINDINGS_PER_FILE;
        for (count, last) in self.files.into_values().filter(full) {
            let more = count - MAX_FINDINGS_PER_FILE;
            let help = &mut self.found[last].help;
            *help = format!("{help}; at least {more} more of this kind in this file are not shown");
        }
    }
}

impl Rule {
    /// Creates a rule whose findings are errors that do not block packaging.
    ///
    /// `code` must not be the code of a built-in rule.
    pub const fn new(code: &'static str, summary: &'static str, apply: Apply) -> Self {
        Self {
            code,
            summary,
            severity: Severity::Error,
            docs: RuleDocs { what: "", why: "", example: "", fix: "" },
            blocks_packaging: BlocksPackaging::Never,
            needs_layout: false,
            apply,
        }
    }

    /// Sets the severity of the findings.
    #[must_use]
    pub const fn with_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// Sets the documentation.
    #[must_use]
    pub const fn with_docs(self, docs: RuleDocs) -> Self {
        Self { docs, ..self }
    }

    /// Sets the files in which an error of the rule blocks packaging.
    #[must_use]
    pub const fn with_blocks_packaging(self, blocks_packaging: BlocksPackaging) -> Self {
        Self { blocks_packaging, ..self }
    }

    /// Makes the rule skip the files of a bundle, which lack the layout of a repository.
    #[must_use]
    pub const fn with_needs_layout(self) -> Self {
        Self { needs_layout: true, ..self }
    }

    /// Creates a finding of this rule with its text escaped.
    pub(crate) fn finding(
        &self,
        location: Location,
        message: impl AsRef<str>,
        help: impl AsRef<str>,
    ) -> Finding {
        Finding {
            code: self.code,
            severity: self.severity,
            location,
            message: escape(message.as_ref()).into_owned(),
            label: String::new(),
            help: escape_lines(help.as_ref()).into_owned(),
            related: Vec::new(),
            subjects: Vec::new(),
            preexisting: false,
            blocks_packaging: self.blocks_packaging,
            needs_layout: self.needs_layout,
        }
    }
}

/// Formats the sections with their headings.
impl fmt::Display for RuleDocs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, why, example, fix } = self;
        write!(f, "### What it does\n{what}\n\n### Why is this bad?\n{why}\n\n")?;
        write!(f, "### Example\n{example}\n\n### What to do\n{fix}\n")
    }
}
