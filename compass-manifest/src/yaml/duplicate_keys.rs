//! Finds duplicate keys in mappings.

use std::collections::HashMap;

use super::{Entry, Node};

/// A repeated key of a mapping, with its first occurrence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DuplicateKey<'n> {
    pub(crate) first: &'n Node,
    pub(crate) again: &'n Node,
}

/// The maximum number of entries for which comparing pairs is faster than hashing.
const SMALL: usize = 16;

impl Node {
    /// Returns the duplicate keys of all mappings in this node.
    pub(crate) fn duplicate_keys(&self) -> Vec<DuplicateKey<'_>> {
        // Compare pairs first: most mappings are small and have no duplicates, so no hashing is
        // needed.
        let may_repeat = |entries: &&[Entry]| entries.len() > SMALL || !distinct(entries);
        let mappings = self.values().map(Self::entries).filter(may_repeat);
        mappings.flat_map(duplicates).collect()
    }
}

fn duplicates(entries: &[Entry]) -> impl Iterator<Item = DuplicateKey<'_>> {
    let mut seen: HashMap<&str, &Node> = HashMap::new();
    entries.iter().filter_map(move |entry| {
        let again = &entry.key;
        let key = again.text()?;
        if let Some(first) = seen.get(key) {
            return Some(DuplicateKey { first, again });
        }
        seen.insert(key, again);
        None
    })
}

fn distinct(entries: &[Entry]) -> bool {
    entries.iter().enumerate().all(|(index, entry)| {
        let key = entry.key.text();
        entries[..index].iter().all(|earlier| earlier.key.text() != key)
    })
}

#[cfg(test)]
mod tests {
    use crate::yaml::parse;

    #[test]
    fn duplicate_keys_at_any_depth_found() {
        let many: String = (0..40).map(|index| format!("k{index}: 1\n")).collect();
        for (text, expected) in [
            ("a: 1\nb: 2\na: 3\n".to_owned(), &["a"][..]),
            ("- {a: 1, a: 2}\n".to_owned(), &["a"]),
            ("a:\n- - b: [{c: 1, 'c': 2}]\n".to_owned(), &["c"]),
            (format!("{many}k7: 2\nk7: 3\n"), &["k7", "k7"]),
            ("a: {b: 1}\nc: {b: 1}\n".to_owned(), &[]),
            (many, &[]),
        ] {
            let root = parse(&text).unwrap();
            let found = root.duplicate_keys();
            let keys: Vec<_> = found.iter().filter_map(|key| key.again.text()).collect();
            assert_eq!(keys, expected, "{text}");
            assert!(found.iter().all(|key| key.first.span.start < key.again.span.start), "{text}");
        }
    }
}
