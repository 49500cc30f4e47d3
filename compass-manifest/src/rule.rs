//! Defines the interface of a rule: its description, its input and its output.

use std::collections::{BTreeMap, HashMap};

use crate::escape::{escape, escape_lines};
use crate::finding::{Finding, Location, Severity};
use crate::repository::{AddonFile, Change, ReleaseRepository};
use crate::source::{SourceFile, Span};

/// A rule: its code, its documentation, and the function that applies it.
///
/// Each rule is a file in `rules/`, named after its code, and a line in [`crate::rules::ALL`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Rule {
    /// The stable code, in kebab case.
    pub code: &'static str,
    /// The requirement of the rule, in one line.
    pub summary: &'static str,
    /// The severity of its findings, unless the policy sets another.
    pub severity: Severity,
    /// The documentation in Markdown.
    pub docs: &'static str,
    /// The files in which an error of the rule blocks packaging.
    pub blocks_packaging: BlocksPackaging,
    /// Whether the rule needs the layout of a repository, so that it does not apply to the files of
    /// a bundle.
    pub needs_layout: bool,
    /// Adds the rule's findings to the sink.
    pub(crate) apply: fn(&RuleContext<'_>, &mut FindingSink<'_>),
}

/// The files in which an error of a rule blocks packaging.
///
/// Such an error hides an image or a file, so that a package lacks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlocksPackaging {
    /// In no file: the error hides nothing.
    Never,
    /// In product manifests, because they name other files.
    InProductManifest,
    /// In every file.
    Always,
}

/// The input of a rule.
#[derive(Debug)]
pub(crate) struct RuleContext<'r> {
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

/// Collects the findings of one rule, up to [`MAX_FINDINGS_PER_FILE`].
#[derive(Debug)]
pub(crate) struct FindingSink<'f> {
    rule: &'static Rule,
    found: &'f mut Vec<Finding>,
    /// The number of findings of each file, and the index of the last one that is kept.
    files: HashMap<String, (usize, usize)>,
    /// Receives the details of findings that are over the limit.
    discarded: Finding,
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
    pub(crate) fn add(
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
    /// The values that most rules share.
    pub(crate) const DEFAULTS: Self = Self {
        code: "",
        summary: "",
        severity: Severity::Error,
        docs: "",
        blocks_packaging: BlocksPackaging::Never,
        needs_layout: false,
        apply: |_, _| {},
    };

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
        }
    }
}
