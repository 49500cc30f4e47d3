use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext, RuleDocs};

pub(crate) static RULE: Rule =
    Rule::new("unquoted-template", "a value that begins with a template variable is quoted", apply)
        .with_blocks_packaging(BlocksPackaging::Always)
        .with_docs(RuleDocs {
            what: "Reports an unquoted `[[ x ]]`, which YAML reads as a list in a list.",
            why: "The installer gets a list or nothing instead of a text.",
            example: "\
```yaml
value: [[ oidcIssuer ]]
```",
            fix: "Write `'[[ oidcIssuer ]]'`.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for document in repository.documents() {
        let Ok(root) = &document.root else { continue };
        for node in root.values() {
            let Some(name) = node.unquoted_template() else { continue };
            let message = format!("the unquoted `[[ {name} ]]` is a list");
            let help = format!("write `'[[ {name} ]]'`");
            sink.add(&document.source, node.span, message, help);
        }
    }
}
