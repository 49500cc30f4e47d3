use crate::escape::{is_format, quote};
use crate::image_refs::DESCRIPTIVE;
use crate::repository::Document;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::Span;
use crate::yaml::Node;

pub(crate) static RULE: Rule =
    Rule::new("invisible-character", "keys and values contain no invisible characters", apply)
        .with_docs(RuleDocs {
            what: "\
Reports Unicode spaces, as the no-break space, at the ends of keys and values, and format characters
(zero-width characters, byte order marks, bidirectional controls) anywhere in them. Descriptions and
texts of several lines are ignored. Outside of quotes and in comments, the rule also reports the
line separator, paragraph separator and next-line characters (U+2028, U+2029, U+0085).",
            why: "\
`system.gpu` with a no-break space at its end looks like `system.gpu`, but is another slot. YAML 1.1
parsers end a line at U+2028, U+2029 and U+0085, and YAML 1.2 parsers do not: the former read the
rest of a comment as a field.",
            example: "A name that was copied from a web page or a chat",
            fix: "Type the value again.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for document in repository.documents() {
        if let Ok(root) = &document.root
            && may_contain(document.source.text())
        {
            walk(document, root, sink);
            report_line_ends(document, root, sink);
        }
    }
}

/// The maximum number of line separators that are reported for a file.
const MAX_LINE_ENDS: usize = 20;

/// Reports characters that end a line only for YAML 1.1 parsers.
fn report_line_ends(document: &Document, root: &Node, sink: &mut FindingSink<'_>) {
    let text = document.source.text();
    let mut line_ends = text.match_indices(['\u{85}', '\u{2028}', '\u{2029}']).peekable();
    if line_ends.peek().is_none() {
        return;
    }
    let quoted = quoted_texts(text, root);
    let is_quoted = |at: usize| {
        let before = quoted.partition_point(|span| span.start <= at);
        before.checked_sub(1).is_some_and(|last| at < quoted[last].end)
    };
    for (start, character) in line_ends.filter(|(at, _)| !is_quoted(*at)).take(MAX_LINE_ENDS) {
        let span = Span { start, end: start + character.len() };
        let message = format!("some YAML parsers end a line at {}", quote(character));
        sink.add(&document.source, span, message, "remove it, or start a new line");
    }
}

/// Returns the spans of the quoted scalars of a document, sorted.
fn quoted_texts(text: &str, root: &Node) -> Vec<Span> {
    let (mut quoted, mut pending) = (Vec::new(), vec![root]);
    while let Some(node) = pending.pop() {
        pending.extend(node.items());
        pending.extend(node.entries().iter().flat_map(|entry| [&entry.key, &entry.value]));
        if node.text().is_some() && text[node.span.range()].starts_with(['"', '\'']) {
            quoted.push(node.span);
        }
    }
    quoted.sort_unstable_by_key(|span| span.start);
    quoted
}

/// Returns whether a text may contain a suspicious character.
///
/// If so, the tree must be searched. A backslash counts, because a double-quoted scalar may contain
/// an escape such as `\u200b`.
fn may_contain(text: &str) -> bool {
    text.contains('\\') || (!text.is_ascii() && text.contains(is_suspicious))
}

fn walk(document: &Document, root: &Node, sink: &mut FindingSink<'_>) {
    let mut pending = vec![root];
    while let Some(node) = pending.pop() {
        pending.extend(node.items());
        for entry in node.entries() {
            check(document, &entry.key, "key", sink);
            if !entry.key.text().is_some_and(|key| DESCRIPTIVE.contains(&key)) {
                pending.push(&entry.value);
            }
        }
        check(document, node, "value", sink);
    }
}

fn check(document: &Document, node: &Node, what: &str, sink: &mut FindingSink<'_>) {
    let Some(text) = node.text().filter(|text| !text.contains('\n')) else { return };
    let at_end = text.starts_with(is_suspicious) || text.ends_with(is_suspicious);
    if at_end || text.contains(is_format) {
        let message = format!("the {what} {} has an invisible character", quote(text));
        sink.add(&document.source, node.span, message, "type it again");
    }
}

/// Returns whether a character is a format character or a non-ASCII space.
fn is_suspicious(character: char) -> bool {
    !character.is_ascii() && (is_format(character) || character.is_whitespace())
}

#[cfg(test)]
mod tests {
    use crate::{Policy, check};

    fn found(text: &str) -> Vec<String> {
        let tree = [("addons/default/console/web/values.yaml", text)].into_iter().collect();
        let report = check(&tree, &Policy::default());
        let about = report.findings().iter().filter(|f| f.code == "invisible-character");
        about.map(|finding| finding.message.clone()).collect()
    }

    #[test]
    fn invisible_characters_in_names_fail() {
        for (value, shown) in [
            ("web\u{a0}", r"`web\u{a0}`"),
            ("\u{3000}web", "`\u{3000}web`"),
            ("'we\u{200b}b'", r"`we\u{200b}b`"),
            ("we\u{202e}b", r"`we\u{202e}b`"),
            (r#""we\u200bb""#, r"`we\u{200b}b`"),
            (r#""web\_""#, r"`web\u{a0}`"),
        ] {
            let message = format!("the value {shown} has an invisible character");
            assert_eq!(found(&format!("_config: {{_metadata: {{name: {value}}}}}")), [message]);
        }
        let key = found("_config: {\u{a0}_metadata: {}}");
        assert_eq!(key, [r"the key `\u{a0}_metadata` has an invisible character"]);
    }

    #[test]
    fn yaml11_line_ends_fail() {
        for (character, shown) in
            [('\u{85}', r"\u{85}"), ('\u{2028}', r"\u{2028}"), ('\u{2029}', r"\u{2029}")]
        {
            let message = format!("some YAML parsers end a line at `{shown}`");
            for text in [
                format!("a: b # why{character}c: d\n"),
                format!("a: b c{character}d e\n"),
                format!("a: |\n  b{character}c: d\n"),
                format!("description: b{character}c\n"),
            ] {
                assert!(found(&text).contains(&message), "{text:?}: {:?}", found(&text));
            }
            for text in
                [format!("description: 'b{character}c'\n"), format!("a: \"b {character}c\"\n")]
            {
                assert_eq!(found(&text), Vec::<String>::new(), "{text:?}");
            }
        }
    }

    #[test]
    fn unicode_spaces_in_descriptions_pass() {
        for text in [
            "_config: {_metadata: {description: '持续　集成\u{a0}', name: web}}",
            "_config: {a: 'one\u{a0}two', b: \"\u{a0}one\\ntwo\u{a0}\", c: 持续}",
        ] {
            assert_eq!(found(text), Vec::<String>::new());
        }
    }
}
