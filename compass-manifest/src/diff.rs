//! Compares two YAML documents by structure.

use std::collections::{HashMap, HashSet};

use crate::escape::quote;
use crate::source::Span;
use crate::yaml::{Node, NodeKind};

/// A difference between two documents at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The path, such as `_config.controllers[0].containers[0].image`.
    pub path: String,
    /// The old value, abbreviated; `None` if the path is new.
    pub old: Option<String>,
    /// The new value, abbreviated; `None` if the path is removed.
    pub new: Option<String>,
    /// The span in the new document: the value, or the mapping that lacks it.
    pub span: Span,
}

/// Returns the differences of two documents, in the order of the new one.
///
/// Lists are compared by index. If each item has a unique `name` or `key`, items with the same
/// name are compared instead, so that an inserted environment variable is one difference.
pub fn differences(old: &Node, new: &Node) -> Vec<Difference> {
    let mut walk = Walk { found: Vec::new(), is_detailed: false };
    walk.compare(old, new, "");
    walk.found
}

/// Returns the differences of two documents, with added collections in parts.
///
/// Unlike [`differences`], splits an added mapping or list of named items into its parts.
pub(crate) fn detailed_differences(old: &Node, new: &Node) -> Vec<Difference> {
    let mut walk = Walk { found: Vec::new(), is_detailed: true };
    walk.compare(old, new, "");
    walk.found
}

struct Walk {
    found: Vec<Difference>,
    /// Whether added mappings and lists are split into their parts.
    is_detailed: bool,
}

impl Walk {
    fn compare(&mut self, old: &Node, new: &Node, path: &str) {
        match (&old.kind, &new.kind) {
            (NodeKind::Mapping(_), NodeKind::Mapping(_)) => self.compare_mappings(old, new, path),
            (NodeKind::Sequence(olds), NodeKind::Sequence(news)) => {
                self.compare_lists(olds, news, new, path);
            }
            _ if old.semantically_eq(new) => {}
            _ => self.add(path, Some(old), Some(new), new.head_span()),
        }
    }

    fn compare_mappings(&mut self, old: &Node, new: &Node, path: &str) {
        let below =
            |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let (olds, news) = (Values::of(old), Values::of(new));
        for entry in new.entries() {
            let key = entry.key.text().unwrap_or_default();
            match olds.get(key) {
                Some(before) => self.compare(before, &entry.value, &below(key)),
                None => self.add_new(&entry.value, &below(key), entry.key.span),
            }
        }
        for entry in old.entries() {
            let key = entry.key.text().unwrap_or_default();
            if news.get(key).is_none() {
                self.add(&below(key), Some(&entry.value), None, new.head_span());
            }
        }
    }

    fn compare_lists(&mut self, olds: &[Node], news: &[Node], list: &Node, path: &str) {
        if let (Some(old_names), Some(new_names)) = (names(olds), names(news)) {
            let by_name: HashMap<&str, &Node> = old_names.iter().copied().zip(olds).collect();
            let known: HashSet<&str> = new_names.iter().copied().collect();
            for (index, (name, new)) in new_names.iter().zip(news).enumerate() {
                match by_name.get(name) {
                    Some(old) => self.compare(old, new, &format!("{path}[{index}]")),
                    None => self.add(&format!("{path}[{index}]"), None, Some(new), new.head_span()),
                }
            }
            for (index, name) in old_names.iter().enumerate().filter(|(_, n)| !known.contains(*n)) {
                let path = format!("{path}[{index}]");
                let text = quote(name);
                self.found.push(Difference {
                    path,
                    old: Some(text),
                    new: None,
                    span: list.head_span(),
                });
            }
            return;
        }
        for (index, new) in news.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match olds.get(index) {
                Some(old) => self.compare(old, new, &path),
                None => self.add(&path, None, Some(new), new.head_span()),
            }
        }
        for (index, old) in olds.iter().enumerate().skip(news.len()) {
            self.add(&format!("{path}[{index}]"), Some(old), None, list.head_span());
        }
    }

    /// Adds the differences for a value that only the new document has.
    fn add_new(&mut self, new: &Node, path: &str, span: Span) {
        match &new.kind {
            NodeKind::Mapping(entries) if self.is_detailed && !entries.is_empty() => {
                for entry in entries {
                    let key = entry.key.text().unwrap_or_default();
                    self.add_new(&entry.value, &format!("{path}.{key}"), entry.key.span);
                }
            }
            NodeKind::Sequence(items) if self.is_detailed && names(items).is_some() => {
                for (index, item) in items.iter().enumerate() {
                    self.add(&format!("{path}[{index}]"), None, Some(item), item.head_span());
                }
            }
            _ => self.add(path, None, Some(new), span),
        }
    }

    fn add(&mut self, path: &str, old: Option<&Node>, new: Option<&Node>, span: Span) {
        let (old, new) = match (old, new) {
            (Some(old), Some(new)) => {
                let (old, new) = brief_pair(old, new);
                (Some(old), Some(new))
            }
            (old, new) => (old.map(brief), new.map(brief)),
        };
        self.found.push(Difference { path: path.to_owned(), old, new, span });
    }
}

/// Finds the values of a mapping by their keys.
struct Values<'n> {
    mapping: &'n Node,
    /// The values of a large mapping by key; `None` for a small mapping, in which a search is
    /// faster than hashing.
    by_key: Option<HashMap<&'n str, &'n Node>>,
}

impl<'n> Values<'n> {
    const SMALL: usize = 32;

    fn of(mapping: &'n Node) -> Self {
        let entries = mapping.entries();
        let is_large = entries.len() > Self::SMALL;
        let entries = entries.iter().filter_map(|entry| Some((entry.key.text()?, &entry.value)));
        // `collect` keeps the last of duplicate keys, as `Node::get` does.
        Self { mapping, by_key: is_large.then(|| entries.collect()) }
    }

    fn get(&self, key: &str) -> Option<&'n Node> {
        match &self.by_key {
            Some(by_key) => by_key.get(key).copied(),
            None => self.mapping.get(key),
        }
    }
}

/// Returns the names of a list's items; `None` if a name is missing or not unique.
fn names(items: &[Node]) -> Option<Vec<&str>> {
    let name = |item: &'_ Node| item.get("name").or_else(|| item.get("key"))?.text().map(str::len);
    if items.is_empty() || items.iter().any(|item| name(item).is_none()) {
        return None;
    }
    let named = items.iter().filter_map(|item| item.get("name").or_else(|| item.get("key")));
    let names: Vec<&str> = named.filter_map(Node::text).collect();
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    (distinct.len() == items.len()).then_some(names)
}

/// Abbreviates two different values.
///
/// If the abbreviations of two long texts are equal, the texts are shown from their first
/// difference on.
fn brief_pair(old: &Node, new: &Node) -> (String, String) {
    let (short, other) = (brief(old), brief(new));
    match (old.text(), new.text()) {
        (Some(one), Some(two))
            if short == other && short.ends_with('…') | short.ends_with("…`") =>
        {
            let same = one.chars().zip(two.chars()).take_while(|(a, b)| a == b).count();
            let from = |text: &str| {
                let rest: String = text.chars().skip(same.saturating_sub(CONTEXT)).collect();
                let end = if rest.chars().count() > MAX_SHOWN { "…" } else { "" };
                format!("`…{}{end}`", rest.chars().take(MAX_SHOWN).collect::<String>())
            };
            (from(one), from(two))
        }
        _ => (short, other),
    }
}

/// The maximum number of characters of a value that are shown.
const MAX_SHOWN: usize = 60;
/// The number of characters that are shown before a difference.
const CONTEXT: usize = 10;

/// Abbreviates a value.
///
/// Texts of several lines are not shown, because they may contain secrets.
fn brief(node: &Node) -> String {
    match node.text() {
        Some(text) if text.contains('\n') => format!("a text of {} lines", text.lines().count()),
        Some(text) if text.chars().count() > MAX_SHOWN => {
            format!("`{}…`", text.chars().take(MAX_SHOWN).collect::<String>())
        }
        Some(text) => quote(text),
        None => node.describe().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn paths(old: &str, new: &str) -> Vec<String> {
        let found = differences(&parse(old).unwrap(), &parse(new).unwrap());
        let show = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        found.iter().map(|d| format!("{} {} {}", d.path, show(&d.old), show(&d.new))).collect()
    }

    #[test]
    fn differences_report_each_path_once() {
        assert_eq!(paths("{a: 1, b: {c: x}}", "{b: {c: 'y'}, a: 1}"), ["b.c `x` `y`"]);
        assert_eq!(paths("{a: 1}", "{b: 2}"), ["b - `2`", "a `1` -"]);
        assert_eq!(paths("[1, 2]", "[1]"), ["[1] `2` -"]);
        assert_eq!(paths("a: '1'", "a: 1"), ["a `1` `1`"]);
        assert_eq!(paths("a: {}", "a: []"), ["a a mapping a list"]);
    }

    #[test]
    fn differences_long_texts_show_divergence() {
        let long = |end: &str| format!("a: mongodb://{}-{end}", "infra-mongo.".repeat(8));
        let found = paths(&long("one"), &long("two"));
        assert_eq!(found, ["a `…ra-mongo.-one` `…ra-mongo.-two`"]);
    }

    #[test]
    fn detailed_differences_split_new_parts() {
        let old = parse("{a: 1}").unwrap();
        let new = parse(
            "{a: 1, env: [{name: A, value: x}, {name: B}], limits: {cpu: 1, gpu: {}}, args: [x, y]}",
        );
        let found = detailed_differences(&old, &new.unwrap());
        let paths: Vec<_> = found.iter().map(|one| one.path.as_str()).collect();
        assert_eq!(paths, ["env[0]", "env[1]", "limits.cpu", "limits.gpu", "args"]);
    }

    #[test]
    fn differences_named_items_match_by_name() {
        let old = "env: [{name: A, value: x}, {name: B, value: y}]";
        let new = "env: [{name: C, value: z}, {name: A, value: x}]";
        assert_eq!(paths(old, new), ["env[0] - a mapping", "env[1] `B` -"]);
    }
}
