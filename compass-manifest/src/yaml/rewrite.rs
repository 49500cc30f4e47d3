//! Replaces the texts of scalars in place.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::{Node, NodeKind, ScalarType, parse};
use crate::source::Span;

/// Computes the new text of a scalar from its text and, in a mapping, its key; `None` keeps it.
pub(crate) type NewText<'f> = dyn Fn(&str, Option<&str>) -> Option<String> + 'f;

/// The error for a scalar whose text cannot be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotRewritable {
    /// The scalar.
    pub(crate) span: Span,
}

/// Replaces the texts of scalars, values and keys, of a document that was parsed from `text`.
///
/// The result, parsed again, has exactly the new texts, whatever they contain, and all of them are
/// texts, not numbers or booleans. All other bytes stay, with comments, order and quoting. A scalar keeps
/// its style if the style can represent the new text.
///
/// An unquoted `[[ name ]]`, which YAML parses as a list in a list, is handled as the text it was
/// meant to be.
///
/// # Errors
/// Returns an error if the parsed result differs in anything else, for example because two keys
/// are equal after the replacement, or an alias stands under another key than its anchor.
pub(crate) fn rewrite(
    text: &str,
    root: &Node,
    new_text: &NewText<'_>,
) -> Result<String, NotRewritable> {
    let mut scalars = Scalars { text, new_text, edits: BTreeMap::new() };
    scalars.node(root, Place { key: None, in_flow: false, is_key: false });
    let (mut result, mut copied) = (String::with_capacity(text.len()), 0);
    for (span, written) in &scalars.edits {
        if span.start < copied {
            return Err(NotRewritable { span: *span });
        }
        result.push_str(&text[copied..span.start]);
        result.push_str(written);
        copied = span.end;
    }
    result.push_str(&text[copied..]);
    let parsed = parse(&result).map_err(|_| NotRewritable { span: root.span })?;
    verify(root, &parsed, None, new_text)?;
    if parsed.duplicate_keys().len() > root.duplicate_keys().len() {
        return Err(NotRewritable { span: root.span });
    }
    Ok(result)
}

/// Where a scalar stands.
#[derive(Clone, Copy)]
struct Place<'n> {
    /// The key of the value.
    key: Option<&'n str>,
    /// Whether the scalar is inside brackets or braces.
    in_flow: bool,
    is_key: bool,
}

/// Collects the scalars to replace, with their new source text.
struct Scalars<'t> {
    text: &'t str,
    new_text: &'t NewText<'t>,
    /// Ordered by position. The children of an alias have the spans of its anchor, so they are
    /// found twice.
    edits: BTreeMap<Span, String>,
}

impl Scalars<'_> {
    fn node(&mut self, node: &Node, place: Place<'_>) {
        let raw = self.text.get(node.span.range()).unwrap_or_default();
        if raw.starts_with('*') {
            return;
        }
        if let Some(old) = template_text(node) {
            if let Some(new) = (self.new_text)(&old, place.key) {
                self.edits.insert(node.span, quoted(&new));
            }
            return;
        }
        match &node.kind {
            NodeKind::Scalar(scalar) => {
                if let Some(new) = (self.new_text)(&scalar.text, place.key)
                    && *new != *scalar.text
                {
                    let (span, written) = match Header::of_block(self.text, node.span) {
                        Some(header) => (header.span(node.span), header.written(&new)),
                        None => (node.span, written(raw, &new, place)),
                    };
                    self.edits.insert(span, written);
                }
            }
            NodeKind::Sequence(items) => {
                let in_flow = place.in_flow || raw.starts_with('[');
                let place = Place { key: None, in_flow, is_key: false };
                items.iter().for_each(|item| self.node(item, place));
            }
            NodeKind::Mapping(entries) => {
                let in_flow = place.in_flow || raw.starts_with('{');
                for entry in entries {
                    self.node(&entry.key, Place { key: None, in_flow, is_key: true });
                    let key = entry.key.text();
                    self.node(&entry.value, Place { key, in_flow, is_key: false });
                }
            }
        }
    }
}

/// Returns the text of an unquoted `[[ name ]]`.
fn template_text(node: &Node) -> Option<String> {
    node.unquoted_template().map(|name| format!("[[ {name} ]]"))
}

/// Returns a scalar with a new text, in the style of `raw` if possible.
fn written(raw: &str, new: &str, place: Place<'_>) -> String {
    match raw.as_bytes().first() {
        Some(b'"') => double_quoted(new),
        Some(b'\'') => quoted(new),
        _ if reads_as_plain(new, place) => new.to_owned(),
        _ => quoted(new),
    }
}

/// The header of a block scalar (YAML 1.2.2, section 8.1.1).
struct Header<'t> {
    start: usize,
    /// The indicator of the style, and those of indentation and chomping.
    indicators: &'t str,
    /// The rest of the line: a comment.
    comment: &'t str,
    /// The indentation of the content.
    indent: &'t str,
}

impl<'t> Header<'t> {
    /// Returns the header of the scalar whose content has this span, if it is a block scalar.
    fn of_block(text: &'t str, content: Span) -> Option<Self> {
        let before = &text[..content.start];
        let start = before.rfind('\n')? + 1;
        let indent = &before[start..];
        let header = before[..start].trim_end();
        let line = &header[header.rfind('\n').map_or(0, |at| at + 1)..];
        let found = HEADER.captures(line)?;
        let (indicators, comment) =
            (found.get(1)?, found.get(2).map_or("", |comment| comment.as_str()));
        // In front of the header, this would begin a comment.
        let is_comment = line[..indicators.start()].contains(" #");
        (indent.bytes().all(|b| b == b' ') && !is_comment).then(|| Self {
            start: header.len() - line.len() + indicators.start(),
            indicators: indicators.as_str(),
            comment,
            indent,
        })
    }

    /// Returns the span of the header and the content.
    fn span(&self, content: Span) -> Span {
        Span { start: self.start, end: content.end }
    }

    /// Returns the scalar with a new text, as a block scalar if that can represent it.
    fn written(&self, new: &str) -> String {
        self.block(new).unwrap_or_else(|| double_quoted(new) + self.comment)
    }

    fn block(&self, new: &str) -> Option<String> {
        let chomping = &self.indicators[1..];
        let body = match chomping {
            "" => new.strip_suffix('\n')?,
            "-" => new,
            _ => return None,
        };
        let is_text = |c| c == '\n' || c == '\t' || is_printable(c);
        // The first line determines the indentation.
        let begins_well = !body.trim_start_matches('\n').starts_with([' ', '\t']);
        if body.trim_end() != body || body.is_empty() || !begins_well || !body.chars().all(is_text)
        {
            return None;
        }
        // A folded scalar (`>`) would join the lines.
        let mut written = format!("|{chomping}{}", self.comment);
        for line in body.split('\n') {
            written.push('\n');
            if !line.is_empty() {
                written.push_str(self.indent);
                written.push_str(line);
            }
        }
        Some(written)
    }
}

#[expect(clippy::expect_used, reason = "a constant regular expression, which the tests use")]
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:^|[ \t])([|>][-+0-9]{0,2})([ \t]+#.*)?$")
        .expect("the regular expression is valid")
});

/// Returns whether a plain scalar is parsed as this text in its place.
fn reads_as_plain(text: &str, place: Place<'_>) -> bool {
    let document = match (place.in_flow, place.is_key) {
        (false, false) => format!("k: {text}\n"),
        (false, true) => format!("{text}: v\n"),
        (true, false) => format!("{{k: {text}}}\n"),
        (true, true) => format!("{{{text}: v}}\n"),
    };
    let Ok(root) = parse(&document) else { return false };
    let [entry] = root.entries() else { return false };
    let node = if place.is_key { &entry.key } else { &entry.value };
    let NodeKind::Scalar(scalar) = &node.kind else { return false };
    // Comments, anchors, tags and YAML 1.1 would change the value in some parser.
    let is_same = *scalar.text == *text && scalar.plain && scalar.scalar_type() == ScalarType::Text;
    is_same && scalar.yaml11_number().is_none() && !scalar.is_yaml11_boolean()
}

/// Quotes a text, with single quotes if they can represent it.
fn quoted(text: &str) -> String {
    match text.chars().all(is_printable) {
        true => format!("'{}'", text.replace('\'', "''")),
        false => double_quoted(text),
    }
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if is_printable(c) => quoted.push(c),
            c => quoted.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns whether a character represents itself in every style and on one line.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Verifies that a tree equals another one except for the new texts.
fn verify(
    old: &Node,
    new: &Node,
    key: Option<&str>,
    new_text: &NewText<'_>,
) -> Result<(), NotRewritable> {
    let differs = || NotRewritable { span: old.span };
    let is_text = |expected: &str| match &new.kind {
        NodeKind::Scalar(scalar) => {
            *scalar.text == *expected && scalar.scalar_type() == ScalarType::Text
        }
        _ => false,
    };
    let changed = template_text(old).and_then(|text| new_text(&text, key));
    if let Some(expected) = changed {
        return is_text(&expected).then_some(()).ok_or_else(differs);
    }
    match (&old.kind, &new.kind) {
        (NodeKind::Scalar(one), NodeKind::Scalar(_)) => {
            let expected = new_text(&one.text, key).filter(|expected| **expected != *one.text);
            let equal = match expected {
                Some(expected) => is_text(&expected),
                None => new.kind == old.kind,
            };
            equal.then_some(()).ok_or_else(differs)
        }
        (NodeKind::Sequence(olds), NodeKind::Sequence(news)) if olds.len() == news.len() => {
            olds.iter().zip(news).try_for_each(|(old, new)| verify(old, new, None, new_text))
        }
        (NodeKind::Mapping(olds), NodeKind::Mapping(news)) if olds.len() == news.len() => {
            olds.iter().zip(news).try_for_each(|(old, new)| {
                verify(&old.key, &new.key, None, new_text)?;
                verify(&old.value, &new.value, old.key.text(), new_text)
            })
        }
        _ => Err(differs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replaces `V` in all scalars.
    fn with(text: &str, value: &str) -> Result<String, NotRewritable> {
        rewrite(text, &parse(text).unwrap(), &|text, _| {
            text.contains("[[ v ]]").then(|| text.replace("[[ v ]]", value))
        })
    }

    #[test]
    fn rewrite_keeps_other_bytes() {
        let text =
            "# [[ v ]]\na:   'x [[ v ]]'   # why\nb: [ 1,\"[[ v ]]\" ]\n\nc: http://[[ v ]]/ \n";
        let expected =
            "# [[ v ]]\na:   'x 10.0.0.1'   # why\nb: [ 1,\"10.0.0.1\" ]\n\nc: http://10.0.0.1/ \n";
        assert_eq!(with(text, "10.0.0.1").unwrap(), expected);
    }

    #[test]
    fn rewrite_quotes_plain_if_needed() {
        for (value, expected) in [
            ("x", "a: 1x\n"),
            ("2", "a: '12'\n"),
            (" #c", "a: '1 #c'\n"),
            (": b", "a: '1: b'\n"),
            ("'", "a: 1'\n"),
            ("\n", "a: \"1\\n\"\n"),
            ("_0", "a: '1_0'\n"),
        ] {
            assert_eq!(with("a: 1[[ v ]]\n", value).unwrap(), expected);
        }
    }

    #[test]
    fn rewrite_block_scalars_stay_blocks() {
        let text = "a: | # c\n  x: [[ v ]]\n\n   y\n\n# end\nb: 1\n";
        let expected = "a: | # c\n  x: 1\n  2\n\n   y\n\n# end\nb: 1\n";
        assert_eq!(with(text, "1\n2").unwrap(), expected);
        let quoted = with(text, "\u{7}").unwrap();
        assert_eq!(quoted, "a: \"x: \\U00000007\\n\\n y\\n\" # c\n\n# end\nb: 1\n");
    }

    #[test]
    fn rewrite_unquoted_template_becomes_text() {
        assert_eq!(with("a: [[ v ]]\n", "5").unwrap(), "a: '5'\n");
        assert_eq!(with("a: [[[ v ]]]\n", "5").unwrap(), "a: ['5']\n");
    }

    #[test]
    fn rewrite_aliases_follow_anchor() {
        let text = "a: &x '[[ v ]]'\nb: *x\nc: &m {k: '[[ v ]]'}\nd: {<<: *m}\n";
        let expected = "a: &x '1'\nb: *x\nc: &m {k: '1'}\nd: {<<: *m}\n";
        assert_eq!(with(text, "1").unwrap(), expected);
    }
}
