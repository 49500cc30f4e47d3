use super::pattern::Pattern;
use super::value::{ValueError, value_error};
use crate::finding::{Finding, Subject};
use crate::source::Span;
use crate::yaml::{Node, decimal};

/// An entry of the policy's `allow` list, which suppresses the matching findings.
#[derive(Debug, Clone)]
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
    pub fn suppresses(&self, finding: &Finding) -> bool {
        self.code == finding.code
            && self.file.as_ref().is_none_or(|file| file.matches(&finding.location.file))
            && self.subjects.iter().all(|subject| finding.subjects.contains(subject))
    }

    pub(super) fn read(node: &Node) -> Result<Self, ValueError> {
        let text = |key| node.get(key).and_then(Node::text);
        let reason = text("reason").unwrap_or_default().trim();
        if reason.is_empty() {
            let at = node.get("reason").unwrap_or(node);
            let message = "the suppression gives no reason";
            return Err(value_error(at, message, "write why the findings are accepted"));
        }
        let plugin = text("plugin").map(|name| Subject::Plugin(name.to_owned()));
        let slot = text("slot").map(|name| Subject::Slot(name.to_owned()));
        let port = text("port").and_then(decimal).map(Subject::Port);
        Ok(Self {
            code: text("code").unwrap_or_default().to_owned(),
            file: node.get("file").map(Pattern::read).transpose()?,
            subjects: [plugin, slot, port].into_iter().flatten().collect(),
            reason: reason.to_owned(),
            span: node.get("code").map_or(node.span, |code| code.span),
        })
    }
}
