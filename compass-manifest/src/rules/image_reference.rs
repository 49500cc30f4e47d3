use crate::escape::quote;
use crate::finding::Severity;
use crate::image_use;
use crate::release::Release;
use crate::rule::{Findings, Rule};

pub(crate) static RULE: Rule = Rule {
    code: "image-reference",
    summary: "every image of an addon is a reference that can be resolved",
    severity: Severity::Error,
    docs: "\
### What it does
Reports `image` fields of addons that are no image reference: a template variable or a registry's
host, a repository, a tag, and no blanks.

### Why is this bad?
Nothing that is packaged from it can be complete.

### Example
```yaml
image: '[[ registry_release ]]/microservice-admin: v0.0.3'
```

### What to do
Write `'[[ registry_release ]]/<component>:<tag>'`.
",
    apply,
};

fn apply(release: &Release<'_>, findings: &mut Findings<'_>) {
    for addon in &release.addons {
        let source = &addon.document.source;
        for container in &addon.values.containers {
            let Some(written) = container.image.as_ref().filter(|i| !i.value.trim().is_empty())
            else {
                continue;
            };
            if let Err(reason) = image_use::read(&written.value, release.policy) {
                let message =
                    format!("{} is not an image reference: {reason}", quote(&written.value));
                let help = "write `[[ registry_release ]]/<component>:<tag>`";
                findings.add(source, written.span, message, help);
            }
        }
    }
}
