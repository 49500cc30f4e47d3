use crate::finding::Severity;
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::source::Span;

pub(crate) static RULE: Rule = Rule {
    code: "placeholder-left",
    summary: "no text of a template is left in a README of a release",
    severity: Severity::Warning,
    docs: "\
### What it does
Looks for the texts that `hotfixes.placeholders` of the policy names in `README` files of the
release directories.

### Why is this bad?
The reader learns nothing about the release.

### Example
`### pm complete this doc`

### What to do
Replace it.
",
    apply,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for readme in &repository.readmes {
        let text = readme.source.text();
        for placeholder in repository.policy.hotfixes.placeholders.iter().filter(|p| !p.is_empty())
        {
            if let Some(start) = text.find(placeholder.as_str()) {
                let span = Span { start, end: start + placeholder.len() };
                let help = "replace it by what the release is about";
                sink.add(&readme.source, span, "this was never filled in", help);
            }
        }
    }
}
