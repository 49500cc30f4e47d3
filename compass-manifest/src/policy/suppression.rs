use super::known_rule;
use super::value::{ValueError, value_error};
use crate::finding::{Finding, Subject};
use crate::source::Span;
use crate::yaml::{Node, decimal};

use super::pattern::Pattern;

/// A finding that is meant to be so, and why.
#[derive(Debug, Clone)]
pub struct Suppression {
    /// The rule's code.
    pub code: &'static str,
    /// The file, where one is named; `*` is any text.
    pub file: Option<Pattern>,
    /// The plugin, slot or port, where one is named.
    pub subjects: Vec<Subject>,
    /// Why.
    pub reason: String,
    pub(crate) span: Span,
}

impl Suppression {
    /// Whether the allowance speaks of a finding.
    pub fn allows(&self, finding: &Finding) -> bool {
        self.code == finding.code
            && self.file.as_ref().is_none_or(|file| file.matches(&finding.location.file))
            && self.subjects.iter().all(|subject| finding.subjects.contains(subject))
    }

    pub(super) fn read(node: &Node) -> Result<Self, ValueError> {
        let text = |key| node.get(key).and_then(Node::text);
        let code = node.get("code").map_or(Ok(""), known_rule)?;
        let reason = text("reason").unwrap_or_default().trim();
        if reason.is_empty() {
            let at = node.get("reason").unwrap_or(node);
            return Err(value_error(
                at,
                "the allowance gives no reason",
                "say why it is meant to be so",
            ));
        }
        let plugin = text("plugin").map(|name| Subject::Plugin(name.to_owned()));
        let slot = text("slot").map(|name| Subject::Slot(name.to_owned()));
        let port = text("port").and_then(decimal).map(Subject::Port);
        Ok(Self {
            code,
            file: node.get("file").map(Pattern::read).transpose()?,
            subjects: [plugin, slot, port].into_iter().flatten().collect(),
            reason: reason.to_owned(),
            span: node.get("code").map_or(node.span, |code| code.span),
        })
    }
}
