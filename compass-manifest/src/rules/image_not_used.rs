use std::collections::BTreeSet;

use super::image_list_syntax::is_listable;
use crate::escape::quote_name;
use crate::finding::Severity;
use crate::repository::{ListFile, ReleaseRepository};
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};

pub(crate) static RULE: Rule = Rule::new(
    "image-not-used",
    "an image list for addons contains only images that addons use",
    apply,
)
.with_severity(Severity::Warning)
.with_needs_layout()
.with_docs(RuleDocs {
    what: "\
Reports images in the lists of `products.addon_lists` of the policy that no addon and no plugin
uses.",
    why: "\
The image is synced and packaged without need. Often the addon has a new tag, and the list has the
old one.",
    example: "`release/app-admin:v0.3.20`, when the addon uses `v0.3.21`",
    fix: "Remove or correct the line.",
});

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let is_addon_list = |list: &&ListFile| {
        let path = list.document.path();
        repository.policy.products.addon_lists.iter().any(|pattern| pattern.matches(path))
    };
    if repository.addons.is_empty() {
        return;
    }
    let used = used_images(repository);
    for list in repository.lists.iter().filter(is_addon_list) {
        for image in &list.images {
            if is_listable(&image.text) && !used.contains(&image.text) {
                let message = format!("no addon uses {}", quote_name(&image.text));
                let help = "remove or correct the line";
                sink.add(&list.document.source, image.span, message, help);
            }
        }
    }
}

fn used_images(repository: &ReleaseRepository) -> BTreeSet<String> {
    let addons = repository.addons.iter().map(|file| &file.document);
    let documents = addons.chain(repository.plugins.iter().map(|file| &file.document));
    let uses = documents.flat_map(|document| document.images(&repository.policy));
    uses.filter_map(|used| Some(used.image.as_ref().ok()?.list_entry())).collect()
}
