use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use crate::escape::quote_name;
use crate::finding::Severity;
use crate::repository::Document;
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::source::Span;

pub(crate) static RULE: Rule = Rule {
    code: "duplicate-manifest",
    summary: "a plugin, a product version and an addon have one file each",
    severity: Severity::Error,
    docs: "\
### What it does
Reports a second manifest of one plugin (`gpu.yaml` and `gpu.yml`, or in two directories), a second
product manifest of one version (`v2.7.0.yaml` and `2.7.0.yaml`), and a second file of one addon
(`values.yaml` and `values.yml`).

### Why is this bad?
Nothing says which of them is meant: commands would take the one or the other.

### Example
`release-plugins/gpu.yaml` and `release-plugins/gpu.yml`

### What to do
Keep one of them.
",
    apply,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let plugins = repository.plugins.iter().map(|file| (file.stem.as_str(), &file.document));
    report(plugins, "plugin", sink);
    let products = repository.products.iter();
    let products = products.filter_map(|file| Some((file.version()?, &file.document)));
    let products = products.map(|(version, document)| (version.release(), document));
    report(products, "product version", sink);
    let addons = repository.addons.iter().map(|file| &file.document);
    report(addons.map(|document| (without_ending(document.path()), document)), "addon", sink);
}

/// Adds a finding for each file after the first of the same thing.
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
        let message = format!("this is a second file of one {what}, besides {path}");
        sink.add(&document.source, Span::default(), message, "keep one of them").related(
            &earlier.source,
            Span::default(),
            "the first file",
        );
    }
}

fn without_ending(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(stem, _)| stem)
}
