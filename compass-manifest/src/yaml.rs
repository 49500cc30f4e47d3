//! Parses YAML into trees with the span of every node.
//!
//! Only this module uses the YAML library. The trees are built from parser events instead of serde,
//! because diagnostics need the spans of keys, duplicate keys and quoting, which serde drops.

mod build;
mod duplicate_keys;
mod merge;
mod rewrite;
mod scalar;

use crate::decode;
pub use crate::decode::{MAX_BYTES, SyntaxError};
use crate::source::{SourceFile, Span, Spanned};

pub(crate) use duplicate_keys::DuplicateKey;
pub(crate) use rewrite::{NotRewritable, rewrite};
pub(crate) use scalar::{Yaml11Meaning, decimal};

/// The maximum nesting depth of a document.
///
/// The limit protects recursive functions from a stack overflow.
pub const MAX_DEPTH: usize = 128;
/// The maximum number of lists, mappings, keys and values of a document.
///
/// Real documents have a few hundred.
pub const MAX_NODES: usize = 50_000;
/// The maximum length of a key in bytes. Messages about its value repeat the key.
pub const MAX_KEY_BYTES: usize = 1024;

/// A node of a YAML document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The content.
    pub kind: NodeKind,
    /// The bytes of the node in the text.
    pub span: Span,
}

/// The content of a [`Node`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A scalar.
    Scalar(Scalar),
    /// A sequence.
    Sequence(Box<[Node]>),
    /// A mapping: all entries in order, including duplicate keys.
    Mapping(Box<[Entry]>),
}

/// A scalar as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text, with quotes and escapes resolved.
    pub text: Box<str>,
    /// Whether the scalar is neither quoted nor a block scalar.
    ///
    /// Only a plain scalar may be a number, a boolean or null.
    pub plain: bool,
}

/// An entry of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Node,
    /// The value.
    pub value: Node,
}

/// The type of a scalar in the YAML 1.2 core schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalarType {
    /// Text.
    Text,
    /// `null`, `~` or an empty node.
    Null,
    /// `true` or `false`.
    Boolean,
    /// An integer.
    Integer,
    /// A floating-point number.
    Float,
}

impl Node {
    /// Returns the value of a key of a mapping.
    ///
    /// Returns the last value of a duplicate key, as most YAML parsers do.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().rev().find(|entry| entry.key.text() == Some(key)).map(|e| &e.value)
    }

    /// Returns the value at a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Returns the items of the list at a path of keys; empty if there is no such list.
    pub(crate) fn items_at(&self, path: &[&str]) -> &[Node] {
        self.at(path).map(Node::items).unwrap_or_default()
    }

    /// Returns the entries of a mapping; empty for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.kind {
            NodeKind::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// Returns the items of a sequence; empty for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            NodeKind::Sequence(items) => items,
            _ => &[],
        }
    }

    /// Returns the span of the first key; of the whole node if it has no key.
    pub(crate) fn head_span(&self) -> Span {
        self.entries().first().map_or(self.span, |entry| entry.key.span)
    }

    /// Iterates over the node and all values below it, without keys.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Self> {
        let mut pending = vec![self];
        std::iter::from_fn(move || {
            let node = pending.pop()?;
            pending.extend(node.entries().iter().map(|entry| &entry.value));
            pending.extend(node.items());
            Some(node)
        })
    }

    /// Returns the text of a scalar of any type.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// Returns the text of a scalar with its span; `None` for null and for a collection.
    pub(crate) fn spanned_text(&self) -> Option<Spanned<String>> {
        let value = self.text().filter(|_| !self.is_null())?.to_owned();
        Some(Spanned { value, span: self.span })
    }

    /// Returns the port in a scalar, with its span; `None` for 0 and for other nodes.
    pub(crate) fn spanned_port(&self) -> Option<Spanned<u16>> {
        let value = decimal(self.text()?).filter(|port| *port != 0)?;
        Some(Spanned { value, span: self.span })
    }

    /// Returns whether the node is `null`, `~` or empty.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar(scalar) if scalar.scalar_type() == ScalarType::Null)
    }

    /// Returns the variable of an unquoted `[[ name ]]`.
    ///
    /// YAML parses an unquoted `[[ name ]]` as a list in a list.
    pub(crate) fn unquoted_template(&self) -> Option<&str> {
        let ([inner], true) = (self.items(), matches!(self.kind, NodeKind::Sequence(_))) else {
            return None;
        };
        let [name] = inner.items() else { return None };
        let NodeKind::Scalar(scalar) = &name.kind else { return None };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let begins = scalar.text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        (scalar.plain && begins && scalar.text.chars().all(is_name)).then_some(&scalar.text)
    }

    /// Returns whether two nodes have equal values.
    ///
    /// Spans, quoting and key order are ignored.
    pub fn semantically_eq(&self, other: &Node) -> bool {
        match (&self.kind, &other.kind) {
            (NodeKind::Scalar(one), NodeKind::Scalar(two)) => {
                let types = (one.scalar_type(), two.scalar_type());
                types.0 == types.1 && (types.0 == ScalarType::Null || one.text == two.text)
            }
            (NodeKind::Sequence(one), NodeKind::Sequence(two)) => {
                one.len() == two.len()
                    && one.iter().zip(two).all(|(one, two)| one.semantically_eq(two))
            }
            (NodeKind::Mapping(one), NodeKind::Mapping(two)) => {
                one.len() == two.len()
                    && one.iter().all(|entry| {
                        let same = |other: &&Entry| entry.key.semantically_eq(&other.key);
                        two.iter()
                            .rfind(same)
                            .is_some_and(|other| entry.value.semantically_eq(&other.value))
                    })
            }
            _ => false,
        }
    }

    /// Returns the type of the node for messages, such as `a list`.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            NodeKind::Sequence(_) => "a list",
            NodeKind::Mapping(_) => "a mapping",
            NodeKind::Scalar(scalar) => match scalar.scalar_type() {
                ScalarType::Text => "text",
                ScalarType::Null => "nothing",
                ScalarType::Boolean => "a boolean",
                ScalarType::Integer | ScalarType::Float => "a number",
            },
        }
    }
}

/// Parses a text that contains one YAML document, and applies its merge keys (`<<`).
///
/// # Errors
/// Returns an error if the text
/// - is not YAML, or does not contain exactly one document,
/// - exceeds [`MAX_BYTES`], [`MAX_NODES`], [`MAX_DEPTH`] or [`MAX_KEY_BYTES`], or has aliases that
///   expand too much,
/// - is a Git LFS pointer or has conflict markers.
pub fn parse(text: &str) -> Result<Node, SyntaxError> {
    decode::reject_oversized(text.len())?;
    decode::reject_unmerged(text)?;
    build::document(text)
}

/// Parses the bytes of a file, as [`parse`] does.
///
/// The returned source is empty if the file is larger than [`MAX_BYTES`].
pub fn read(path: &str, bytes: &[u8]) -> (SourceFile, Result<Node, SyntaxError>) {
    let (source, text) = decode::read(path, bytes);
    let document = text.and_then(|()| build::document(source.text()));
    (source, document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice<'t>(text: &'t str, node: &Node) -> &'t str {
        &text[node.span.range()]
    }

    #[test]
    fn parse_nodes_have_spans() {
        let text = "spec:\n  version: v0.1.0\n  slots: # why\n  - 'a b'\n  - c\n";
        let root = parse(text).unwrap();
        assert_eq!(slice(text, root.at(&["spec", "version"]).unwrap()), "v0.1.0");
        let slots = root.at(&["spec", "slots"]).unwrap().items();
        assert_eq!(slice(text, &slots[0]), "'a b'");
        assert_eq!(slots[0].text(), Some("a b"));
        assert_eq!(slice(text, &root.entries()[0].key), "spec");
    }

    #[test]
    fn parse_duplicate_keys_keep_last_value() {
        let root = parse("a: 1\na: 2\n").unwrap();
        assert_eq!(root.entries().len(), 2);
        assert_eq!(root.get("a").and_then(Node::text), Some("2"));
    }

    #[test]
    fn parse_scalars_have_core_types() {
        let root = parse("[1, -3, 0x1f, 1.5, 1e3, v1, 1.0.6, '1', true, null, '']").unwrap();
        let types: Vec<_> = root.items().iter().map(Node::describe).collect();
        let (number, text) = ("a number", "text");
        let expected = [
            number,
            number,
            number,
            number,
            number,
            text,
            text,
            text,
            "a boolean",
            "nothing",
            text,
        ];
        assert_eq!(types, expected);
    }

    #[test]
    fn parse_empty_node_is_null() {
        let text = "a:\nb: ~\nc: &x\nd: !!str\ne: !!str 1\nf: *x\nh: {i, j: }\n";
        let root = parse(text).unwrap();
        for (key, expected, describes) in [
            ("a", "", "nothing"),
            ("b", "~", "nothing"),
            ("c", "", "nothing"),
            ("d", "", "text"),
            ("e", "1", "text"),
            ("f", "", "nothing"),
        ] {
            let node = root.get(key).unwrap();
            assert_eq!((node.text(), node.describe()), (Some(expected), describes), "{key}");
        }
        let inner = root.get("h").unwrap();
        assert!(inner.entries().iter().all(|entry| entry.value.text() == Some("")));
        assert!(root.get("a").unwrap().semantically_eq(root.get("b").unwrap()));
    }

    #[test]
    fn parse_hostile_documents_fail() {
        let bomb: String =
            (1..30).map(|n| format!("a{n}: &a{n} [*a{}, *a{0}, *a{0}, *a{0}]\n", n - 1)).collect();
        let bomb = format!("a0: &a0 [x, x, x, x]\n{bomb}");
        assert!(parse(&bomb).unwrap_err().message.contains("expand too much"));
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"- ".repeat(100_000)).is_err());
        assert!(parse(&"a".repeat(MAX_BYTES + 1)).unwrap_err().message.contains("bytes"));
        assert!(parse("a: 1\n---\nb: 2\n").unwrap_err().message.contains("second YAML document"));
        assert!(parse("").unwrap_err().message.contains("empty"));
        assert!(parse("a: *nowhere").is_err());
    }
}
