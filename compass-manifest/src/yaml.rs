//! YAML with the place of every node: the only module that knows the YAML library.
//!
//! Built from parser events and not through serde, because diagnostics need what serde drops: the
//! span of keys, duplicate keys, and whether a scalar was quoted.

mod build;
mod duplicate_keys;
mod merge;
mod scalar;

use crate::decode;
use crate::source::{SourceFile, Span, Spanned};

pub(crate) use duplicate_keys::DuplicateKey;
pub(crate) use scalar::{Yaml11Meaning, decimal};

/// A release manifest larger than this is refused; real ones have a few kilobytes.
pub const MAX_BYTES: usize = 4 << 20;
/// How many levels of lists and mappings a document may have: every walk over it may recurse.
pub const MAX_DEPTH: usize = 128;
/// How many lists, mappings, keys and values a document may have; real ones have a few hundred.
pub const MAX_NODES: usize = 50_000;
/// How long a key may be: messages about what stands below it repeat it.
pub const MAX_KEY_BYTES: usize = 1024;

/// A node of a YAML document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it holds.
    pub kind: NodeKind,
    /// Where it stands.
    pub span: Span,
}

/// What a [`Node`] holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A scalar.
    Scalar(Scalar),
    /// A sequence.
    Sequence(Box<[Node]>),
    /// A mapping, with all its entries in order, duplicates included.
    Mapping(Box<[Entry]>),
}

/// A scalar as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text, with quotes and escapes resolved.
    pub text: Box<str>,
    /// Whether it stands without quotes and not as a block, so that YAML may read it as a number,
    /// a boolean or null.
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

/// What a scalar is after the YAML 1.2 core schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalarType {
    /// Text.
    Text,
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// Another number.
    Float,
}

/// Why a text is not one YAML document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<&'static str>,
    /// Where.
    pub span: Span,
}

impl Node {
    /// The value under a key of a mapping: the last one, as YAML readers take it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().rev().find(|entry| entry.key.text() == Some(key)).map(|e| &e.value)
    }

    /// The value at a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The entries of a mapping; empty for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.kind {
            NodeKind::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a sequence; empty for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            NodeKind::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The text of a scalar, whatever its type.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// The text of a scalar that is there and not nothing, with its place.
    pub(crate) fn spanned_text(node: Option<&Self>) -> Option<Spanned<String>> {
        let node = node.filter(|node| !node.is_null())?;
        Some(Spanned { value: node.text()?.to_owned(), span: node.span })
    }

    /// The port that a scalar names, with its place; 0 is none.
    pub(crate) fn spanned_port(node: Option<&Self>) -> Option<Spanned<u16>> {
        let node = node?;
        let value = decimal(node.text()?).filter(|port| *port != 0)?;
        Some(Spanned { value, span: node.span })
    }

    /// Whether the node is `null`, `~` or nothing.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar(scalar) if scalar.scalar_type() == ScalarType::Null)
    }

    /// The variable of a `[[ name ]]` without quotes, which YAML reads as a list in a list.
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

    /// Whether two nodes mean the same, wherever they stand and however they are quoted.
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

    /// What the node is, in words.
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

/// Parses a text that holds one YAML document. Merge keys (`<<`) are applied: a mapping has the entries
/// that they name.
///
/// # Errors
/// A [`SyntaxError`] if the text is not YAML, holds no or several documents, is larger than
/// [`MAX_BYTES`], has more than [`MAX_NODES`] nodes or [`MAX_DEPTH`] levels, a key longer than
/// [`MAX_KEY_BYTES`], or grows beyond bounds through aliases; also if it is a Git LFS pointer or has
/// conflict markers.
pub fn parse(text: &str) -> Result<Node, SyntaxError> {
    decode::refuse_oversized(text.len())?;
    decode::refuse_unfinished(text)?;
    build::document(text)
}

/// Reads a file's bytes as a text that holds one YAML document, as [`parse`] does. The text of a file
/// that is larger than [`MAX_BYTES`] is not kept.
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
    fn every_node_knows_where_it_stands() {
        let text = "spec:\n  version: v0.1.0\n  slots: # why\n  - 'a b'\n  - c\n";
        let root = parse(text).unwrap();
        assert_eq!(slice(text, root.at(&["spec", "version"]).unwrap()), "v0.1.0");
        let slots = root.at(&["spec", "slots"]).unwrap().items();
        assert_eq!(slice(text, &slots[0]), "'a b'");
        assert_eq!(slots[0].text(), Some("a b"));
        assert_eq!(slice(text, &root.entries()[0].key), "spec");
    }

    #[test]
    fn duplicate_keys_are_kept_and_the_last_one_counts() {
        let root = parse("a: 1\na: 2\n").unwrap();
        assert_eq!(root.entries().len(), 2);
        assert_eq!(root.get("a").and_then(Node::text), Some("2"));
    }

    #[test]
    fn scalars_have_the_types_of_the_core_schema() {
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
    fn empty_node_has_no_text() {
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
    fn hostile_documents_are_refused() {
        let bomb: String =
            (1..30).map(|n| format!("a{n}: &a{n} [*a{}, *a{0}, *a{0}, *a{0}]\n", n - 1)).collect();
        let bomb = format!("a0: &a0 [x, x, x, x]\n{bomb}");
        assert!(parse(&bomb).unwrap_err().message.contains("grow beyond bounds"));
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"- ".repeat(100_000)).is_err());
        assert!(parse(&"a".repeat(MAX_BYTES + 1)).unwrap_err().message.contains("bytes"));
        assert!(parse("a: 1\n---\nb: 2\n").unwrap_err().message.contains("second YAML document"));
        assert!(parse("").unwrap_err().message.contains("empty"));
        assert!(parse("a: *nowhere").is_err());
    }
}
