use crate::escape::{quote, quote_name};
use crate::finding::Severity;
use crate::image_refs::ResolvedImage;
use crate::release::Release;
use crate::rule::{Findings, Rule};

pub(crate) static RULE: Rule = Rule {
    code: "mutable-tag",
    summary: "no image has the tag `latest`",
    severity: Severity::Warning,
    docs: "\
### What it does
Reports images of addons, hotfixes and image lists whose tag is `latest`.

### Why is this bad?
The tag means another image tomorrow: two packages of one version hold different things.

### Example
```yaml
image: '[[ registry_release ]]/console-web:latest'
```

### What to do
Name a version.
",
    apply,
};

fn apply(release: &Release<'_>, findings: &mut Findings<'_>) {
    let help = "name a version";
    for document in release.addon_documents() {
        for used in document.images(release.policy) {
            let latest = |image: &ResolvedImage| {
                image.tag.as_deref() == Some("latest") && image.digest.is_none()
            };
            if used.image.as_ref().is_ok_and(latest) {
                let message = format!("{} means another image tomorrow", quote_name(&used.written));
                findings.add(&document.source, used.span, message, help);
            }
        }
    }
    for list in &release.lists {
        for image in list.images.iter().filter(|image| image.text.ends_with(":latest")) {
            let message = format!("{} means another image tomorrow", quote(&image.text));
            findings.add(&list.document.source, image.span, message, help);
        }
    }
}
