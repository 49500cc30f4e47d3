use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use crate::escape::quote_name;
use crate::repository::Document;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::Span;

pub(crate) static RULE: Rule =
    Rule::new("duplicate-manifest", "each plugin, product version and addon has one file", apply)
        .with_docs(RuleDocs {
            what: "\
Reports a second manifest of a plugin (`gpu.yaml` and `gpu.yml`, or in two directories), a second
manifest of a product version (`v2.7.0.yaml` and `2.7.0.yaml`), and a second file of an addon
(`values.yaml` and `values.yml`).",
            why: "Commands cannot know which file is the valid one.",
            example: "`release-plugins/gpu.yaml` and `release-plugins/gpu.yml`",
            fix: "Keep one of them.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let plugins = repository.plugins.iter().map(|file| (file.stem.as_str(), &file.document));
    report(plugins, "plugin", sink);
    let products = repository.products.iter();
    let products = products.filter_map(|file| Some((file.version()?, &file.document)));
    let products = products.map(|(version, document)| (version.release(), document));
    report(products, "product version", sink);
    let addons = repository.addons.iter().map(|file| &file.document);
    report(addons.map(|document| (without_extension(document.path()), document)), "addon", sink);
}

/// Adds a finding for each file after the first with the same name.
fn report<'r, K: Hash + Eq>(
    files: impl Iterator<Item = (K, &'r Document)>,
    what: &str,
    sink: &mut FindingSink<'_>,
) {
    let mut first: HashMap<K, &Document> = HashMap::new();
    for (name, document) in files {
        let earlier = match first.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(document);
                continue;
            }
            Entry::Occupied(entry) => *entry.get(),
        };
        let path = quote_name(earlier.path());
        let message = format!("this {what} has another file: {path}");
        sink.add(&document.source, Span::default(), message, "keep one of them").related(
            &earlier.source,
            Span::default(),
            "the first file",
        );
    }
}

fn without_extension(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(stem, _)| stem)
}
