use crate::escape::quote;
use crate::finding::Severity;
use crate::image_refs::ImageUse;
use crate::release::{Document, Release};
use crate::rule::{Findings, Rule};
use crate::source::Span;

pub(crate) static RULE: Rule = Rule {
    code: "image-reference",
    summary: "every image is a reference that can be resolved",
    severity: Severity::Error,
    docs: "\
### What it does
Reports images of addons, hotfixes and plugins that are no image reference: a template variable or a
registry's host, a repository, a tag, and no blanks. Variables in them need a value in the policy.

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
        check(release, &addon.document, |_| false, findings);
    }
    for hotfix in &release.hotfixes {
        let containers = hotfix.values.containers.iter();
        let images: Vec<Span> =
            containers.filter_map(|container| Some(container.image.as_ref()?.span)).collect();
        check(release, &hotfix.document, |used| images.contains(&used.span), findings);
    }
    for plugin in &release.plugins {
        let image = plugin.manifest.image.as_ref().map(|image| image.span);
        check(release, &plugin.document, |used| Some(used.span) == image, findings);
    }
}

/// Reports the images of a document that cannot be resolved, without those that another rule reports.
fn check(
    release: &Release<'_>,
    document: &Document,
    is_reported: impl Fn(&ImageUse) -> bool,
    findings: &mut Findings<'_>,
) {
    for used in document.images(release.policy).iter().filter(|used| !is_reported(used)) {
        if let Err(reason) = &used.image {
            let message = format!("{} is not an image reference: {reason}", quote(&used.written));
            let help = "write `[[ registry_release ]]/<component>:<tag>`";
            findings.add(&document.source, used.span, message, help);
        }
    }
}
