use crate::escape::quote_name;
use crate::image_refs::ResolvedImage;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};

pub(crate) static RULE: Rule =
    Rule::new("unpinned-image", "every image has a tag or a digest", apply).with_docs(RuleDocs {
        what: "Reports `image` fields of addons and hotfixes that have neither a tag nor a digest.",
        why: "\
Without a tag, container tools use `latest`, which may refer to another image every day.",
        example: "\
```yaml
image: '[[ registry_release ]]/console-web'
```",
        fix: "Add the tag.",
    });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for document in repository.addon_documents() {
        for used in document.images(&repository.policy) {
            let bare = |image: &ResolvedImage| image.tag.is_none() && image.digest.is_none();
            if used.is_field && used.image.as_ref().is_ok_and(bare) {
                let message = format!("{} has no tag", quote_name(&used.written));
                sink.add(&document.source, used.span, message, "add `:<version>`");
            }
        }
    }
}
