use crate::finding::Severity;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::Span;

pub(crate) static RULE: Rule =
    Rule::new("placeholder-left", "the README of a release contains no placeholder", apply)
        .with_severity(Severity::Warning)
        .with_docs(RuleDocs {
            what: "\
Searches the `README` files of the release directories for the texts in `hotfixes.placeholders` of
the policy.",
            why: "The README does not describe the release.",
            example: "`### pm complete this doc`",
            fix: "Replace the placeholder by a description of the release.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for readme in &repository.readmes {
        let text = readme.source.text();
        for placeholder in repository.policy.hotfixes.placeholders.iter().filter(|p| !p.is_empty())
        {
            if let Some(start) = text.find(placeholder.as_str()) {
                let span = Span { start, end: start + placeholder.len() };
                let help = "replace it by a description of the release";
                sink.add(&readme.source, span, "this placeholder is not filled in", help);
            }
        }
    }
}
