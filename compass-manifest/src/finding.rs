//! Defines findings and reports, which [`render`](crate::render) formats.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use crate::escape::escape;
use crate::rule::Rule;
use crate::source::{Position, SourceFile, Span};

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Blocks the release.
    Error,
    /// Probably a mistake.
    Warning,
    /// Information.
    Note,
}

impl Severity {
    /// Returns the name in text, SARIF and policies: `error`, `warning` or `note`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A range in a file of the release repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Location {
    /// The path in the repository.
    pub file: String,
    /// The bytes of the range.
    pub span: Span,
    /// The first character.
    pub start: Position,
    /// One past the last character.
    pub end: Position,
}

/// A second location of a finding, with its role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Related {
    /// The location.
    pub location: Location,
    /// The text at the location, such as `claimed by gpu`.
    pub label: String,
}

/// The subject of a finding, which a suppression can name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// A plugin, by name.
    Plugin(String),
    /// A slot.
    Slot(String),
    /// A port.
    Port(u16),
}

/// A problem that a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The rule's stable code.
    pub code: &'static str,
    pub(crate) rule: &'static Rule,
    /// The severity: the rule's own, unless the policy sets another.
    pub severity: Severity,
    /// The primary location.
    pub location: Location,
    /// The problem, in one line.
    pub message: String,
    /// A short text at the location; empty if the message is enough.
    pub label: String,
    /// How to fix the problem; may have several lines.
    pub help: String,
    /// Other locations, for example the first of two conflicting values.
    pub related: Vec<Related>,
    /// The plugins, slots and ports that the finding is about.
    pub subjects: Vec<Subject>,
    /// Whether the base of the change has the same finding.
    pub preexisting: bool,
}

impl Finding {
    /// Returns the rule.
    pub fn rule(&self) -> &'static Rule {
        self.rule
    }

    /// Sets the text at the location, escaped.
    pub fn label(&mut self, label: impl AsRef<str>) -> &mut Self {
        self.label = escape(label.as_ref()).into_owned();
        self
    }

    /// Sets the severity, which the policy may replace.
    pub fn severity(&mut self, severity: Severity) -> &mut Self {
        self.severity = severity;
        self
    }

    /// Adds a subject, which a suppression can name.
    pub fn about(&mut self, subject: Subject) -> &mut Self {
        self.subjects.push(subject);
        self
    }

    /// Adds another location with a text, escaped.
    pub fn related(
        &mut self,
        source: &SourceFile,
        span: Span,
        label: impl AsRef<str>,
    ) -> &mut Self {
        let label = escape(label.as_ref()).into_owned();
        self.related.push(Related { location: Location::new(source, span), label });
        self
    }

    /// Orders findings by location, then code and message.
    pub(crate) fn cmp_location(&self, other: &Self) -> Ordering {
        (&self.location, self.code, &self.message).cmp(&(
            &other.location,
            other.code,
            &other.message,
        ))
    }
}

/// A finding that a suppression removed from the report, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Suppressed {
    /// The finding.
    pub finding: Finding,
    /// The reason that the suppression gives.
    pub reason: String,
}

/// The result of a check.
///
/// Contains the findings, ordered by location, and the files that they point into.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub(crate) findings: Vec<Finding>,
    pub(crate) suppressed: Vec<Suppressed>,
    pub(crate) files: usize,
    pub(crate) rules: Vec<&'static Rule>,
    pub(crate) sources: BTreeMap<String, SourceFile>,
    pub(crate) directory: String,
}

impl Location {
    pub(crate) fn new(source: &SourceFile, span: Span) -> Self {
        Self {
            file: source.path().to_owned(),
            span,
            start: source.position(span.start),
            end: source.position(span.end),
        }
    }
}

/// Formats the location as `FILE:LINE:COLUMN`, which editors recognize.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", escape(&self.file), self.start.line, self.start.column)
    }
}

impl Report {
    /// Returns all findings, ordered by file and position.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns the number of checked files.
    pub fn files(&self) -> usize {
        self.files
    }

    /// Returns the suppressed findings, which no other method counts.
    pub fn suppressed(&self) -> &[Suppressed] {
        &self.suppressed
    }

    /// Returns the file at a path that a finding points into; `None` if it is not text.
    pub fn source(&self, path: &str) -> Option<&SourceFile> {
        self.sources.get(path)
    }

    /// Stores the files that findings point into.
    pub(crate) fn keep_sources(&mut self, sources: Vec<SourceFile>) {
        self.sources =
            sources.into_iter().map(|source| (source.path().to_owned(), source)).collect();
    }

    /// Sets the directory of the release repository in the git repository.
    ///
    /// An example is `deploy/release`.
    ///
    /// Annotations and SARIF logs must name files from the root of the git repository, as forges
    /// do.
    #[must_use]
    pub fn in_directory(mut self, directory: &str) -> Self {
        directory.trim_matches('/').clone_into(&mut self.directory);
        self
    }

    /// Returns the path of a file from the root of the git repository.
    pub(crate) fn path_from_root(&self, file: &str) -> String {
        match self.directory.as_str() {
            "" => file.to_owned(),
            directory => format!("{directory}/{file}"),
        }
    }

    /// Returns the number of findings with a severity, without preexisting ones.
    pub fn count(&self, severity: Severity) -> usize {
        let counts = |finding: &&Finding| finding.severity == severity && !finding.preexisting;
        self.findings.iter().filter(counts).count()
    }

    /// Returns the number of preexisting findings.
    pub fn preexisting(&self) -> usize {
        self.findings.iter().filter(|finding| finding.preexisting).count()
    }

    /// Returns whether the report has no error, apart from preexisting ones.
    pub fn passes(&self) -> bool {
        self.count(Severity::Error) == 0
    }

    /// Counts preexisting findings like new ones.
    #[must_use]
    pub fn strict(mut self) -> Self {
        for finding in &mut self.findings {
            finding.preexisting = false;
        }
        self
    }
}
