//! What a rule is, and what it is given.

use crate::finding::{Finding, Place, Related, Severity, Subject};
use crate::release::Release;
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
    pub(crate) apply: fn(&Release<'_>, &mut Findings<'_>),
}

/// Where a rule puts what it finds.
#[derive(Debug)]
pub(crate) struct Findings<'f> {
    pub(crate) rule: &'static Rule,
    pub(crate) found: &'f mut Vec<Finding>,
}

impl Findings<'_> {
    /// Adds a finding; its details can be added to what comes back.
    pub(crate) fn add(
        &mut self,
        source: &SourceFile,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> &mut Finding {
        self.found.push(Finding {
            code: self.rule.code,
            severity: self.rule.severity,
            place: Place::new(source, span),
            message: message.into(),
            label: String::new(),
            help: help.into(),
            related: Vec::new(),
            subjects: Vec::new(),
            preexisting: false,
        });
        let last = self.found.len() - 1;
        &mut self.found[last]
    }
}

impl Finding {
    pub(crate) fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = label.into();
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
        label: impl Into<String>,
    ) -> &mut Self {
        self.related.push(Related { place: Place::new(source, span), label: label.into() });
        self
    }
}
