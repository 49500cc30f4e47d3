use crate::escape::{quote, quote_name};
use crate::finding::Severity;
use crate::image_refs::ResolvedImage;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};

pub(crate) static RULE: Rule = Rule::new("mutable-tag", "no image has the tag `latest`", apply)
    .with_severity(Severity::Warning)
    .with_docs(RuleDocs {
        what: "Reports images of addons, hotfixes and image lists whose tag is `latest`.",
        why: "\
The tag may refer to another image tomorrow: two packages of one version have different contents.",
        example: "\
```yaml
image: '[[ registry_release ]]/console-web:latest'
```",
        fix: "Use a version as the tag.",
    });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let help = "use a version as the tag";
    for document in repository.addon_documents() {
        for used in document.images(&repository.policy) {
            let latest = |image: &ResolvedImage| {
                image.tag.as_deref() == Some("latest") && image.digest.is_none()
            };
            if used.image.as_ref().is_ok_and(latest) {
                let message = format!("{} has a mutable tag", quote_name(&used.written));
                sink.add(&document.source, used.span, message, help);
            }
        }
    }
    for list in &repository.lists {
        for image in list.images.iter().filter(|image| image.text.ends_with(":latest")) {
            let message = format!("{} has a mutable tag", quote(&image.text));
            sink.add(&list.document.source, image.span, message, help);
        }
    }
}
