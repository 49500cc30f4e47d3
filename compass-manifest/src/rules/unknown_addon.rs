use std::collections::BTreeSet;

use crate::escape::quote;
use crate::repository::AddonFile;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::suggest;
use crate::yaml::Node;

pub(crate) static RULE: Rule =
    Rule::new("unknown-addon", "an installation descriptor names only existing addons", apply)
        .with_docs(RuleDocs {
            what: "\
Reports addons and `deps` in the files of `products.descriptors` of the policy that have no values
file.",
            why: "The installation stops at the unknown addon.",
            example: "\
```yaml
spec:
  systemAddons: [{name: kubernetes-admin-server}]
```",
            fix: "Remove the entry, or correct its name.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let known: BTreeSet<String> = repository.addons.iter().flat_map(names).collect();
    if known.is_empty() {
        return;
    }
    for document in &repository.descriptors {
        let Ok(root) = &document.root else { continue };
        for name in addon_names(root) {
            let text = name.text().unwrap_or_default();
            if !known.contains(text) {
                let help = suggest(text, known.iter().map(String::as_str)).map_or_else(
                    || "remove the entry, or add the addon".to_owned(),
                    |near| format!("did you mean {}?", quote(near)),
                );
                let message = format!("no addon is named {}", quote(text));
                sink.add(&document.source, name.span, message, help);
            }
        }
    }
}

/// Returns the names of an addon, from its values and from its path.
fn names(addon: &AddonFile) -> Vec<String> {
    let own = addon.values.name.as_ref().map(|name| name.value.clone());
    let parts: Vec<&str> = addon.document.path().rsplit('/').collect();
    let from_path = match parts.as_slice() {
        ["values.yaml", leaf, group, ..] => Some(format!("{group}-{leaf}")),
        [file, ..] => file.rsplit_once('.').map(|(stem, _)| stem.to_owned()),
        [] => None,
    };
    own.into_iter().chain(from_path).collect()
}

fn addon_names(root: &Node) -> Vec<&Node> {
    let modules = root.items_at(&["spec", "modules"]).iter();
    let entries: Vec<&Node> = root
        .items_at(&["spec", "systemAddons"])
        .iter()
        .chain(modules.flat_map(|module| module.items_at(&["addons"])))
        .chain(root.items_at(&["spec", "extraAddons"]))
        .collect();
    let names = entries.iter().filter_map(|entry| entry.get("name"));
    names.chain(entries.iter().flat_map(|entry| entry.items_at(&["deps"]))).collect()
}
