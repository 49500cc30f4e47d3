use crate::escape::quote;
use crate::finding::Severity;
use crate::policy::Policy;
use crate::repository::Document;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::Span;
use crate::suggest;
use crate::template::variables;

pub(crate) static RULE: Rule = Rule::new(
    "template-variable",
    "every template variable is well formed and in the policy",
    apply,
)
.with_severity(Severity::Warning)
.with_docs(RuleDocs {
    what: "\
Checks the template variables in addons and hotfixes: they must be written as `[[ name ]]`, with one
space on each side of the name, and be in `templates` of the policy. Variables whose value is known
only on site are listed there without a value.",
    why: "\
The installer does not replace an unknown variable: `[[ regstry_release ]]/console-web` is not an
image.",
    example: "\
```yaml
image: '[[ registry_relase ]]/console-web:v1.0.0'
```",
    fix: "Correct the name, or add it to `templates`: `name: ~`.",
});

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for document in repository.addon_documents() {
        let Ok(root) = &document.root else { continue };
        for node in root.values() {
            if let Some(text) = node.text().filter(|text| text.contains("[[")) {
                check(&repository.policy, document, text, node.span, sink);
            }
        }
    }
}

fn check(policy: &Policy, document: &Document, text: &str, span: Span, sink: &mut FindingSink<'_>) {
    let mut after = span.start;
    for variable in variables(text) {
        if sink.is_full(&document.source) {
            return;
        }
        let written = &text[variable.start..variable.end];
        let found = document.source.find(written, Span { start: after, end: span.end });
        after = found.map_or(after, |found| found.end);
        let span = found.unwrap_or(span);
        let name = variable.name;
        if policy.templates.get(name).is_none() {
            let help = suggest(name, policy.templates.names()).map_or_else(
                || format!("add `{name}: ~` to `templates` of the policy"),
                |known| format!("did you mean {}?", quote(known)),
            );
            let message =
                format!("the variable {} is not in `templates` of the policy", quote(name));
            sink.add(&document.source, span, message, help);
        } else if !variable.well_formed {
            let message = format!("the installer does not replace {}", quote(written));
            let help = format!("write `[[ {name} ]]`, with one space on each side");
            sink.add(&document.source, span, message, help);
        }
    }
}
