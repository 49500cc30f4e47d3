//! Defines reports, which [`render`](crate::render) formats.

use std::collections::BTreeMap;

use crate::finding::{Finding, Severity, Suppressed};
use crate::rule::Rule;
use crate::source::SourceFile;

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
