use crate::escape::quote;
use crate::image_refs::ImageUse;
use crate::repository::{Document, ReleaseRepository};
use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::Span;

pub(crate) static RULE: Rule =
    Rule::new("image-reference", "every image reference can be resolved", apply)
        .with_blocks_packaging(BlocksPackaging::Always)
        .with_docs(RuleDocs {
            what: "\
Reports invalid image references in addons, hotfixes and plugins. A reference is a template variable
or a registry host, a repository and a tag, without whitespace. Its variables need a value in the
policy.",
            why: "A package cannot contain an image that cannot be resolved.",
            example: "\
```yaml
image: '[[ registry_release ]]/microservice-admin: v0.0.3'
```",
            fix: "Write `'[[ registry_release ]]/<component>:<tag>'`.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for addon in &repository.addons {
        check(repository, &addon.document, |_| false, sink);
    }
    for hotfix in &repository.hotfixes {
        let containers = hotfix.values.containers.iter();
        let images: Vec<Span> =
            containers.filter_map(|container| Some(container.image.as_ref()?.span)).collect();
        check(repository, &hotfix.document, |used| images.contains(&used.span), sink);
    }
    for plugin in &repository.plugins {
        let image = plugin.manifest.image.as_ref().map(|image| image.span);
        check(repository, &plugin.document, |used| Some(used.span) == image, sink);
    }
}

/// Adds a finding for each image of a document that cannot be resolved.
///
/// Images for which `is_reported` is true are skipped, because another rule reports them.
fn check(
    repository: &ReleaseRepository,
    document: &Document,
    is_reported: impl Fn(&ImageUse) -> bool,
    sink: &mut FindingSink<'_>,
) {
    for used in document.images(&repository.policy).iter().filter(|used| !is_reported(used)) {
        if let Err(reason) = &used.image {
            let message = format!("{} is not an image reference: {reason}", quote(&used.written));
            let help = "write `[[ registry_release ]]/<component>:<tag>`";
            sink.add(&document.source, used.span, message, help);
        }
    }
}
