//! What a check says: data, which the renderers turn into text.

use std::collections::BTreeMap;

use crate::source::{Position, SourceFile, Span};

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The release must not go on like this.
    Error,
    /// Probably a mistake.
    Warning,
    /// Worth knowing.
    Note,
}

/// A place in a file of the release repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Path in the repository.
    pub file: String,
    /// Bytes in the file.
    pub span: Span,
    /// First character.
    pub start: Position,
    /// One past the last character.
    pub end: Position,
}

/// Another place that belongs to a finding, and what it has to do with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Related {
    /// Where.
    pub place: Place,
    /// What stands there.
    pub label: String,
}

/// One thing that a rule has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's stable code.
    pub code: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What stands at the place, in a few words; empty where the message says it all.
    pub label: String,
    /// What to do.
    pub help: String,
    /// Other places that belong to it.
    pub related: Vec<Related>,
}

/// The result of a check: findings ordered by place, and the sources they point into.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub(crate) findings: Vec<Finding>,
    pub(crate) sources: BTreeMap<String, SourceFile>,
}

impl Place {
    pub(crate) fn new(source: &SourceFile, span: Span) -> Self {
        Self {
            file: source.path().to_owned(),
            span,
            start: source.position(span.start),
            end: source.position(span.end),
        }
    }
}

impl Report {
    /// All findings, ordered by file and place.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The file of a finding, as far as it was readable text.
    pub fn source(&self, path: &str) -> Option<&SourceFile> {
        self.sources.get(path)
    }

    /// How many findings have a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Whether nothing stands in the way of a release: there is no error.
    pub fn passes(&self) -> bool {
        self.count(Severity::Error) == 0
    }
}
