use std::collections::BTreeSet;

use super::image_list_syntax::is_listable;
use crate::escape::quote_name;
use crate::finding::Severity;
use crate::repository::{ListFile, ReleaseRepository};
use crate::rule::{FindingSink, Rule, RuleContext};

pub(crate) static RULE: Rule = Rule {
    code: "image-not-used",
    summary: "an image list for addons names only what an addon uses",
    severity: Severity::Warning,
    docs: "\
### What it does
Looks at the lists that `products.addon_lists` of the policy names, and reports images that no
addon and no plugin uses.

### Why is this bad?
It is synced and packaged for nothing; often the image has a new tag, and the list the old one.

### Example
`release/app-admin:v0.3.20`, when the addon uses `v0.3.21`

### What to do
Remove the line, or correct it.
",
    apply,
    needs_layout: true,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let own = |list: &&ListFile| {
        let path = list.document.path();
        repository.policy.products.addon_lists.iter().any(|pattern| pattern.matches(path))
    };
    if repository.addons.is_empty() {
        return;
    }
    let used = used(repository);
    for list in repository.lists.iter().filter(own) {
        for image in &list.images {
            if is_listable(&image.text) && !used.contains(&image.text) {
                let message = format!("no addon uses {}", quote_name(&image.text));
                let help = "remove the line, or correct it";
                sink.add(&list.document.source, image.span, message, help);
            }
        }
    }
}

fn used(repository: &ReleaseRepository) -> BTreeSet<String> {
    let addons = repository.addons.iter().map(|file| &file.document);
    let documents = addons.chain(repository.plugins.iter().map(|file| &file.document));
    let uses = documents.flat_map(|document| document.images(&repository.policy));
    uses.filter_map(|used| Some(used.image.as_ref().ok()?.list_entry())).collect()
}
