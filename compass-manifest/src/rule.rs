//! What a rule is, and what it is given.

use crate::finding::{Finding, Place, Related, Severity};
use crate::plugin::PluginManifest;
use crate::policy::Policy;
use crate::shape::Departure;
use crate::source::{SourceFile, Span};
use crate::yaml::{Node, SyntaxError};

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

/// A release repository, read as far as it could be.
#[derive(Debug)]
pub(crate) struct Release<'p> {
    pub(crate) policy: &'p Policy,
    pub(crate) plugins: Vec<PluginFile>,
}

/// A plugin manifest's file.
#[derive(Debug)]
pub(crate) struct PluginFile {
    /// The file name without its ending: the plugin's name.
    pub(crate) stem: String,
    pub(crate) source: SourceFile,
    pub(crate) document: Result<Node, SyntaxError>,
    pub(crate) departures: Vec<Departure>,
    pub(crate) manifest: PluginManifest,
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
