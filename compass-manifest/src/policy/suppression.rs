use super::pattern::Pattern;
use super::value::{ValueError, text, value_error};
use crate::finding::{Finding, Subject};
use crate::schema::Schema::{Port, Text};
use crate::schema::{Table, optional, required};
use crate::source::Span;
use crate::yaml::decimal;

/// An entry of the policy's `allow` list, which suppresses the matching findings.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Suppression {
    /// The rule's code.
    pub code: String,
    /// The files; `None` for all.
    pub file: Option<Pattern>,
    /// The plugins, slots and ports that the finding must all be about.
    pub subjects: Vec<Subject>,
    /// The reason why the findings are accepted.
    pub reason: String,
    pub(crate) span: Span,
}

impl Suppression {
    /// Returns whether the suppression matches a finding.
    pub(crate) fn suppresses(&self, finding: &Finding) -> bool {
        self.code == finding.code
            && self.file.as_ref().is_none_or(|file| file.matches(&finding.location.file))
            && self.subjects.iter().all(|subject| finding.subjects.contains(subject))
    }
}

pub(super) const FIELDS: Table<Suppression, ValueError> = Table(&[
    required("code", Text).set(|it, node| {
        it.code = text(node);
        it.span = node.span;
    }),
    optional("file", Text).try_set(|it, node| Pattern::read(node).map(|file| it.file = Some(file))),
    optional("plugin", Text).set(|it, node| it.subjects.push(Subject::Plugin(text(node)))),
    optional("slot", Text).set(|it, node| it.subjects.push(Subject::Slot(text(node)))),
    optional("port", Port)
        .set(|it, node| it.subjects.extend(node.text().and_then(decimal).map(Subject::Port))),
    required("reason", Text).try_set(|it, node| {
        text(node).trim().clone_into(&mut it.reason);
        if it.reason.is_empty() {
            let message = "the suppression gives no reason";
            return Err(value_error(node.span, message, "write why the findings are accepted"));
        }
        Ok(())
    }),
]);
