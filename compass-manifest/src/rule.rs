//! What a rule is, and what it is given.

use std::collections::HashMap;

use crate::escape::{escape, escape_lines};
use crate::finding::{Finding, Location, Related, Severity, Subject};
use crate::repository::ReleaseRepository;
use crate::source::{SourceFile, Span};

/// A rule: what it is called, what it says in general, and the function that applies it.
///
/// A rule is one file in `rules/`, named after its code, and one line in [`crate::rules::ALL`].
#[derive(Debug)]
pub struct Rule {
    /// The stable code, in kebab case.
    pub code: &'static str,
    /// One line.
    pub summary: &'static str,
    /// How much its findings weigh.
    pub severity: Severity,
    /// Documentation in Markdown.
    pub docs: &'static str,
    /// Applies the rule.
    pub(crate) apply: fn(&ReleaseRepository<'_>, &mut FindingSink<'_>),
}

/// How many findings of one rule a file is shown with; a file that was not meant to be one of a
/// release may have hundreds of thousands.
pub(crate) const MOST_IN_A_FILE: usize = 50;

/// Where a rule puts what it finds.
#[derive(Debug)]
pub(crate) struct FindingSink<'f> {
    rule: &'static Rule,
    found: &'f mut Vec<Finding>,
    /// How many findings each file has, and where the last one stands.
    files: HashMap<String, (usize, usize)>,
    /// Takes the details of findings that are too many.
    spare: Finding,
}

impl<'f> FindingSink<'f> {
    pub(crate) fn new(rule: &'static Rule, found: &'f mut Vec<Finding>) -> Self {
        let nowhere = SourceFile::new("", "");
        let spare =
            rule.finding(Location::new(&nowhere, Span::default()), String::new(), String::new());
        Self { rule, found, files: HashMap::new(), spare }
    }

    /// Adds a finding with its text escaped, and returns it for details.
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
        let (count, last) = match self.files.get_mut(source.path()) {
            Some(file) => (&mut file.0, &mut file.1),
            None => return &mut self.spare,
        };
        *count += 1;
        if *count > MOST_IN_A_FILE {
            self.spare.related.clear();
            self.spare.subjects.clear();
            return &mut self.spare;
        }
        *last = self.found.len();
        let location = Location::new(source, span);
        let message = escape(message.as_ref()).into_owned();
        let help = escape_lines(help.as_ref()).into_owned();
        self.found.push(self.rule.finding(location, message, help));
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    /// Whether more findings in a file would not be shown.
    pub(crate) fn is_full(&self, source: &SourceFile) -> bool {
        self.files.get(source.path()).is_some_and(|(count, _)| *count > MOST_IN_A_FILE)
    }

    /// Says of each file how many findings are not shown.
    pub(crate) fn finish(self) {
        for (count, last) in self.files.into_values().filter(|(count, _)| *count > MOST_IN_A_FILE) {
            let more = count - MOST_IN_A_FILE;
            let help = &mut self.found[last].help;
            *help = format!("{help}; at least {more} more of this kind in this file are not shown");
        }
    }
}

impl Rule {
    fn finding(&self, location: Location, message: String, help: String) -> Finding {
        Finding {
            code: self.code,
            severity: self.severity,
            location,
            message,
            label: String::new(),
            help,
            related: Vec::new(),
            subjects: Vec::new(),
            preexisting: false,
        }
    }
}

impl Finding {
    pub(crate) fn label(&mut self, label: impl AsRef<str>) -> &mut Self {
        self.label = escape(label.as_ref()).into_owned();
        self
    }

    pub(crate) fn severity(&mut self, severity: Severity) -> &mut Self {
        self.severity = severity;
        self
    }

    pub(crate) fn about(&mut self, subject: Subject) -> &mut Self {
        self.subjects.push(subject);
        self
    }

    pub(crate) fn related(
        &mut self,
        source: &SourceFile,
        span: Span,
        label: impl AsRef<str>,
    ) -> &mut Self {
        let label = escape(label.as_ref()).into_owned();
        self.related.push(Related { location: Location::new(source, span), label });
        self
    }
}
