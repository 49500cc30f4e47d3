use crate::escape::quote_name;
use crate::finding::Severity;
use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext};

pub(crate) static RULE: Rule = Rule {
    code: "container-without-image",
    summary: "every container has an image",
    severity: Severity::Error,
    docs: "\
### What it does
Reports containers and init containers of addons and hotfixes without an image.

### Why is this bad?
The addon cannot be installed.

### Example
```yaml
containers:
- name: web
```

### What to do
Add `image:`.
",
    apply,
    blocks_packaging: BlocksPackaging::Always,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let hotfixes = repository.hotfixes.iter().map(|file| (&file.document, &file.values));
    let addons = repository.addons.iter().map(|file| (&file.document, &file.values));
    for (document, values) in hotfixes.chain(addons) {
        for container in &values.containers {
            if container.image.as_ref().is_none_or(|image| image.value.trim().is_empty()) {
                let message = format!("{} has no image", quote_name(&container.path));
                let help = "add `image: '[[ registry_release ]]/<component>:<tag>'`";
                sink.add(&document.source, container.span, message, help);
            }
        }
    }
}
