use crate::escape::quote_name;
use crate::repository::ValuesFile;
use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext, RuleDocs};

pub(crate) static RULE: Rule =
    Rule::new("container-without-image", "every container has an image", apply)
        .with_blocks_packaging(BlocksPackaging::Always)
        .with_docs(RuleDocs {
            what: "Reports containers and init containers of addons and hotfixes without an image.",
            why: "The addon cannot be installed.",
            example: "\
```yaml
containers:
- name: web
```",
            fix: "Add `image:`.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for ValuesFile { document, values } in repository.values_files() {
        for container in &values.containers {
            if container.image.as_ref().is_none_or(|image| image.value.trim().is_empty()) {
                let message = format!("{} has no image", quote_name(&container.path));
                let help = "add `image: '[[ registry_release ]]/<component>:<tag>'`";
                sink.add(&document.source, container.span, message, help);
            }
        }
    }
}
