//! Defines findings: the problems that rules find.

use std::cmp::Ordering;
use std::fmt;

use crate::escape::escape;
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

/// A problem that a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The rule's stable code.
    pub code: &'static str,
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
    /// The files in which this finding blocks packaging if it is an error.
    pub blocks_packaging: BlocksPackaging,
    /// Whether the rule needs the layout of a repository.
    pub needs_layout: bool,
}

impl Finding {
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
