//! YAML with the place of every node: the only module that knows the YAML library.
//!
//! Built from parser events and not through serde, because diagnostics need what serde drops: the
//! span of keys, duplicate keys, and whether a scalar was quoted.

use std::collections::HashMap;

use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, Span as ParserSpan};

use crate::source::{Span, Spanned};

/// A release manifest larger than this is refused; real ones have a few kilobytes.
pub const MAX_BYTES: usize = 4 << 20;
/// How many values a document may hold; real ones have hundreds.
const MAX_NODES: usize = 100_000;
/// How many nodes aliases may add to a document.
const MAX_ALIASED_NODES: usize = 10_000;

/// A node of a YAML document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it holds.
    pub kind: Kind,
    /// Where it stands.
    pub span: Span,
}

/// What a [`Node`] holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A scalar.
    Scalar(Scalar),
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping, with all its entries in order, duplicates included.
    Mapping(Vec<Entry>),
}

/// A scalar as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text, with quotes and escapes resolved.
    pub text: String,
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

impl Scalar {
    /// The type that YAML gives the scalar.
    pub fn scalar_type(&self) -> ScalarType {
        if !self.plain {
            return ScalarType::Text;
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => ScalarType::Null,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => ScalarType::Boolean,
            text if is_integer(text) => ScalarType::Integer,
            text if is_float(text) => ScalarType::Float,
            _ => ScalarType::Text,
        }
    }
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
            Kind::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a sequence; empty for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The text of a scalar, whatever its type.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(&scalar.text),
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
        let value: u16 = node.text()?.parse().ok()?;
        (value != 0).then_some(Spanned { value, span: node.span })
    }

    /// Whether the node is `null`, `~` or nothing.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.scalar_type() == ScalarType::Null)
    }

    /// The variable of a `[[ name ]]` without quotes, which YAML reads as a list in a list.
    pub(crate) fn unquoted_template(&self) -> Option<&str> {
        let ([inner], true) = (self.items(), matches!(self.kind, Kind::Sequence(_))) else {
            return None;
        };
        let [name] = inner.items() else { return None };
        let Kind::Scalar(scalar) = &name.kind else { return None };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let begins = scalar.text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        (scalar.plain && begins && scalar.text.chars().all(is_name)).then_some(&scalar.text)
    }

    /// Whether two nodes mean the same, wherever they stand and however they are quoted.
    pub fn means(&self, other: &Node) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Scalar(one), Kind::Scalar(two)) => {
                one.text == two.text && one.scalar_type() == two.scalar_type()
            }
            (Kind::Sequence(one), Kind::Sequence(two)) => {
                one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.means(two))
            }
            (Kind::Mapping(one), Kind::Mapping(two)) => {
                one.len() == two.len()
                    && one.iter().all(|entry| {
                        let same = |other: &&Entry| entry.key.means(&other.key);
                        two.iter().rfind(same).is_some_and(|other| entry.value.means(&other.value))
                    })
            }
            _ => false,
        }
    }

    /// What the node is, in words.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
            Kind::Scalar(scalar) => match scalar.scalar_type() {
                ScalarType::Text => "text",
                ScalarType::Null => "nothing",
                ScalarType::Boolean => "a boolean",
                ScalarType::Integer | ScalarType::Float => "a number",
            },
        }
    }

    fn count(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar(_) => 0,
            Kind::Sequence(items) => items.iter().map(Node::count).sum(),
            Kind::Mapping(entries) => entries.iter().map(|e| e.key.count() + e.value.count()).sum(),
        }
    }
}

/// Parses a text that holds one YAML document.
///
/// # Errors
/// A [`SyntaxError`] where the text is not YAML, holds no or several documents, is larger than
/// [`MAX_BYTES`], is nested deeper than the parser allows, or grows beyond bounds through aliases.
pub fn parse(text: &str) -> Result<Node, SyntaxError> {
    if text.len() > MAX_BYTES {
        return Err(SyntaxError {
            message: format!("the file has {} bytes; at most {MAX_BYTES} are read", text.len()),
            help: Some("a release manifest has a few kilobytes: is this the right file?"),
            span: Span::default(),
        });
    }
    let mut builder = Builder::new(text);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax_error(text, &error))?;
        builder.take(event, &span)?;
    }
    builder.finish()
}

/// A collection that is not finished yet.
struct Open {
    kind: Kind,
    start: Span,
    anchor: usize,
    key: Option<Node>,
}

struct Builder<'t> {
    text: &'t str,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    aliased: usize,
}

impl<'t> Builder<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            open: Vec::new(),
            root: None,
            documents: 0,
            anchors: HashMap::new(),
            nodes: 0,
            aliased: 0,
        }
    }

    fn take(&mut self, event: Event<'_>, span: &ParserSpan) -> Result<(), SyntaxError> {
        let span = self.trim(byte_span(self.text, span));
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(SyntaxError {
                message: format!("the file holds more than {MAX_NODES} values"),
                help: Some("a release manifest has hundreds: is this the right file?"),
                span,
            });
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(SyntaxError {
                        message: "a second YAML document begins here".to_owned(),
                        help: Some(
                            "keep one document in a file: split the file, or remove the `---`",
                        ),
                        span,
                    });
                }
            }
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let kind = Kind::Scalar(Scalar { text: text.into_owned(), plain });
                self.complete(Node { kind, span }, anchor);
            }
            Event::SequenceStart(_, anchor, _) => {
                self.begin(Kind::Sequence(Vec::new()), span, anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                self.begin(Kind::Mapping(Vec::new()), span, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(anchor) => self.alias(anchor, span)?,
            _ => {}
        }
        Ok(())
    }

    /// Without the line end and blanks behind a node.
    fn trim(&self, span: Span) -> Span {
        let covered = self.text.get(span.range()).unwrap_or_default();
        Span { start: span.start, end: span.start + covered.trim_end().len() }
    }

    fn begin(&mut self, kind: Kind, start: Span, anchor: usize) {
        self.open.push(Open { kind, start, anchor, key: None });
    }

    fn end(&mut self, end: Span) {
        if let Some(open) = self.open.pop() {
            let span = self.trim(Span { start: open.start.start, end: end.end });
            self.complete(Node { kind: open.kind, span }, open.anchor);
        }
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), SyntaxError> {
        let error = |message: &str| SyntaxError {
            message: message.to_owned(),
            help: Some("write the value out"),
            span,
        };
        let target =
            self.anchors.get(&anchor).ok_or_else(|| error("the alias refers to itself"))?;
        self.aliased += target.count();
        if self.aliased > MAX_ALIASED_NODES {
            return Err(error("aliases make this document grow beyond bounds"));
        }
        let node = Node { kind: target.kind.clone(), span };
        self.complete(node, 0);
        Ok(())
    }

    fn complete(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.kind {
            Kind::Sequence(items) => items.push(node),
            Kind::Mapping(entries) => match open.key.take() {
                None => open.key = Some(node),
                Some(key) => entries.push(Entry { key, value: node }),
            },
            Kind::Scalar(_) => {}
        }
    }

    fn finish(self) -> Result<Node, SyntaxError> {
        self.root.ok_or_else(|| SyntaxError {
            message: "the file is empty".to_owned(),
            help: None,
            span: Span::default(),
        })
    }
}

fn byte_span(text: &str, span: &ParserSpan) -> Span {
    let range = span.byte_range().unwrap_or(text.len()..text.len());
    Span { start: range.start.min(text.len()), end: range.end.min(text.len()) }
}

fn syntax_error(text: &str, error: &serde_yaml::granit_parser::ScanError) -> SyntaxError {
    let start = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
    let rest = text.get(start..).unwrap_or_default();
    let width = rest.chars().next().filter(|c| !c.is_whitespace()).map_or(0, char::len_utf8);
    SyntaxError {
        message: error.kind().to_string(),
        help: None,
        span: Span { start, end: start + width },
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let based = |prefix: &str, test: fn(&u8) -> bool| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.as_bytes().iter().all(test))
    };
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
        || based("0x", u8::is_ascii_hexdigit)
        || based("0o", |b| (b'0'..=b'7').contains(b))
}

fn is_float(text: &str) -> bool {
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(bare, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    bare.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && bare.bytes().any(|b| b.is_ascii_digit())
        && bare.parse::<f64>().is_ok()
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
    fn hostile_documents_are_refused() {
        let bomb: String =
            (1..30).map(|n| format!("a{n}: &a{n} [*a{}, *a{0}, *a{0}, *a{0}]\n", n - 1)).collect();
        let bomb = format!("a0: &a0 [x, x, x, x]\n{bomb}");
        assert!(parse(&bomb).unwrap_err().message.contains("grow beyond bounds"));
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"- ".repeat(100_000)).is_err());
        assert!(parse(&"a".repeat(MAX_BYTES + 1)).unwrap_err().message.contains("bytes"));
        assert!(parse("a: 1\n---\nb: 2\n").unwrap_err().message.contains("second YAML document"));
        let wide = format!("[{}]", "1,".repeat(MAX_NODES));
        assert!(parse(&wide).unwrap_err().message.contains("more than 100000 values"));
        assert!(parse("").unwrap_err().message.contains("empty"));
        assert!(parse("a: *nowhere").is_err());
    }
}
