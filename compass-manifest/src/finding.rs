//! What a check says: data, which the renderers turn into text.

use std::collections::BTreeMap;
use std::fmt;

use crate::escape::escape;
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
pub struct Location {
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
    pub location: Location,
    /// What stands there.
    pub label: String,
}

/// What a finding is about, so that an allowance can name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A plugin, by name.
    Plugin(String),
    /// A slot.
    Slot(String),
    /// A port.
    Port(u16),
}

/// One thing that a rule has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's stable code.
    pub code: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// Where.
    pub location: Location,
    /// What is wrong.
    pub message: String,
    /// What stands at the place, in a few words; empty where the message says it all.
    pub label: String,
    /// What to do.
    pub help: String,
    /// Other places that belong to it.
    pub related: Vec<Related>,
    /// What it is about.
    pub subjects: Vec<Subject>,
    /// Whether it stood at the base already, so that the change is not to blame.
    pub preexisting: bool,
}

/// A finding that is meant to be so, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressed {
    /// The finding.
    pub finding: Finding,
    /// The reason that the allowance gives.
    pub reason: String,
}

/// The result of a check: findings ordered by place, and the sources they point into.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub(crate) findings: Vec<Finding>,
    pub(crate) allowed: Vec<Suppressed>,
    pub(crate) files: usize,
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

/// `FILE:LINE:COLUMN`, as editors read it.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", escape(&self.file), self.start.line, self.start.column)
    }
}

impl Report {
    /// All findings, ordered by file and place.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many files were judged.
    pub fn files(&self) -> usize {
        self.files
    }

    /// The findings that an allowance speaks of, which count for nothing.
    pub fn suppressed(&self) -> &[Suppressed] {
        &self.allowed
    }

    /// The file of a finding, as far as it was readable text.
    pub fn source(&self, path: &str) -> Option<&SourceFile> {
        self.sources.get(path)
    }

    /// Keeps the files that findings point into.
    pub(crate) fn keep_sources(&mut self, sources: Vec<SourceFile>) {
        self.sources =
            sources.into_iter().map(|source| (source.path().to_owned(), source)).collect();
    }

    /// Says in which directory of the git repository the release repository is, as
    /// `deploy/release`: forges name files from the root of the git repository, so annotations and
    /// SARIF do too.
    #[must_use]
    pub fn in_directory(mut self, directory: &str) -> Self {
        directory.trim_matches('/').clone_into(&mut self.directory);
        self
    }

    /// The path of a file from the root of the git repository.
    pub(crate) fn path_from_root(&self, file: &str) -> String {
        match self.directory.as_str() {
            "" => file.to_owned(),
            directory => format!("{directory}/{file}"),
        }
    }

    /// How many findings have a severity; those that stood at the base already do not count.
    pub fn count(&self, severity: Severity) -> usize {
        let counts = |finding: &&Finding| finding.severity == severity && !finding.preexisting;
        self.findings.iter().filter(counts).count()
    }

    /// How many findings stood at the base already.
    pub fn preexisting(&self) -> usize {
        self.findings.iter().filter(|finding| finding.preexisting).count()
    }

    /// Whether nothing stands in the way of a release: there is no error that the change is to
    /// blame for.
    pub fn passes(&self) -> bool {
        self.count(Severity::Error) == 0
    }

    /// Forgets what stood at the base already: all findings count.
    #[must_use]
    pub fn strict(mut self) -> Self {
        for finding in &mut self.findings {
            finding.preexisting = false;
        }
        self
    }
}
