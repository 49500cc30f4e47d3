//! Applies merge keys: `<<: *defaults` (<https://yaml.org/type/merge.html>).

use std::collections::HashSet;

use super::{Entry, Node, NodeKind, SyntaxError};

/// Replaces the merge key of a mapping by the entries that it refers to.
///
/// The mapping's own keys have priority. Entries that come from an alias have the span of the
/// alias.
pub(super) fn merge(text: &str, mut entries: Vec<Entry>) -> Result<Vec<Entry>, SyntaxError> {
    let Some(at) = entries.iter().position(is_merge) else { return Ok(entries) };
    let merged = entries.remove(at);
    if let Some(second) = entries.iter().find(|entry| is_merge(entry)) {
        return Err(merge_error("this mapping has two merge keys (`<<`)", &second.key));
    }
    let mut known: HashSet<Box<str>> =
        entries.iter().filter_map(|entry| entry.key.text().map(Into::into)).collect();
    let sources = match merged.value.kind {
        NodeKind::Sequence(items) => items.into_vec(),
        _ => vec![merged.value],
    };
    for source in sources {
        let Node { kind: NodeKind::Mapping(found), span } = source else {
            return Err(merge_error("`<<` needs a mapping, or a list of mappings", &source));
        };
        let is_alias = text[span.start..].starts_with('*');
        // Iterate in reverse, because the last of duplicate keys is used.
        let new = found.into_iter().rev();
        let mut new: Vec<Entry> = new
            .filter(|entry| entry.key.text().is_none_or(|key| known.insert(key.into())))
            .collect();
        if is_alias {
            for entry in &mut new {
                (entry.key.span, entry.value.span) = (span, span);
            }
        }
        entries.extend(new.into_iter().rev());
    }
    Ok(entries)
}

fn is_merge(entry: &Entry) -> bool {
    matches!(&entry.key.kind, NodeKind::Scalar(scalar) if scalar.plain && &*scalar.text == "<<")
}

fn merge_error(message: &str, node: &Node) -> SyntaxError {
    let help = Some("write `<<: *anchor`, or `<<: [*first, *second]` for several");
    SyntaxError { message: message.to_owned(), help, span: node.span }
}

#[cfg(test)]
mod tests {
    use crate::yaml::{Node, parse};

    fn at(text: &str, path: &[&str]) -> Option<String> {
        parse(text).unwrap().at(path).and_then(Node::text).map(str::to_owned)
    }

    #[test]
    fn merge_own_keys_have_priority() {
        let text = "\
a: &a {x: a, y: a}
b: &b {y: b, z: b}
one: {<<: *a, x: own}
before: {x: own, <<: *a}
list: {<<: [*a, *b], w: own}
inline: {<<: {x: inline}}
chain: {<<: &c {<<: *b, z: c}}
quoted: {'<<': *a}
";
        for (path, expected) in [
            (["one", "x"], Some("own")),
            (["one", "y"], Some("a")),
            (["before", "x"], Some("own")),
            (["list", "y"], Some("a")),
            (["list", "z"], Some("b")),
            (["list", "w"], Some("own")),
            (["inline", "x"], Some("inline")),
            (["chain", "y"], Some("b")),
            (["chain", "z"], Some("c")),
            (["quoted", "x"], None),
            (["one", "<<"], None),
        ] {
            assert_eq!(at(text, &path).as_deref(), expected, "{path:?}");
        }
    }

    #[test]
    fn merge_result_equals_written_out() {
        let merged = parse("a: &a {x: 1, y: {z: 2}}\nb: {<<: *a, w: 3}\n").unwrap();
        let written = parse("a: {x: 1, y: {z: 2}}\nb: {x: 1, y: {z: 2}, w: 3}\n").unwrap();
        assert!(merged.semantically_eq(&written));
    }

    #[test]
    fn merge_entries_have_alias_span() {
        let text = "a: &a {x: 1}\nb:\n  w: 2\n  <<: *a\n";
        let root = parse(text).unwrap();
        let merged = &root.get("b").unwrap().entries()[1];
        assert_eq!((&text[merged.key.span.range()], merged.value.text()), ("*a", Some("1")));
        let inline = "b: {<<: {x: 1}}";
        let value = parse(inline).unwrap().at(&["b", "x"]).unwrap().span;
        assert_eq!(&inline[value.range()], "1");
    }

    #[test]
    fn merge_of_other_node_fails() {
        for (text, says) in [
            ("a: {<<: 1}", "needs a mapping"),
            ("a: {<<: }", "needs a mapping"),
            ("a: {<<: [1]}", "needs a mapping"),
            ("a: &a [1]\nb: {<<: *a}", "needs a mapping"),
            ("a: &a {x: 1}\nb: {<<: *a, <<: *a}", "two merge keys"),
        ] {
            assert!(parse(text).unwrap_err().message.contains(says), "{text}");
        }
    }
}
