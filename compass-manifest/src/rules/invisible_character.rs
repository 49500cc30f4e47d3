use crate::escape::{is_format, quote};
use crate::finding::Severity;
use crate::image_refs::DESCRIPTIVE;
use crate::repository::Document;
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::source::Span;
use crate::yaml::Node;

pub(crate) static RULE: Rule = Rule {
    code: "invisible-character",
    summary: "keys and values have no invisible characters",
    severity: Severity::Error,
    docs: "\
### What it does
Reports no-break and other wide spaces at the ends of keys and values, and characters without a shape
(zero-width, byte order mark, change of direction) anywhere in them. Texts for people and texts of
several lines may have them. Outside of quotes it also reports the line and paragraph separators of
Unicode and the next-line character (U+2028, U+2029, U+0085), also in comments.

### Why is this bad?
`system.gpu` with a no-break space behind it is another slot than `system.gpu`, and looks the same.
Readers of YAML 1.1 end a line at U+2028, U+2029 and U+0085, and readers of YAML 1.2 do not: what
follows in a comment is a field for the first.

### Example
A name that was pasted from a web page or a chat

### What to do
Write the value again.
",
    apply,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for document in repository.documents() {
        if let Ok(root) = &document.root
            && may_have_some(document.source.text())
        {
            walk(document, root, sink);
            report_line_ends(document, root, sink);
        }
    }
}

/// How many of them are reported for one file.
const MAX_LINE_ENDS: usize = 20;

/// Reports what only readers of YAML 1.1 take for the end of a line.
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
        let message =
            format!("some readers of YAML take {} for the end of a line", quote(character));
        sink.add(&document.source, span, message, "remove it, or begin a new line");
    }
}

/// Where the quoted scalars of a document stand, in order.
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

/// Whether a text is worth a closer look. Most files have only what can be seen; in double quotes a
/// character may be written as `\u200b`.
fn may_have_some(text: &str) -> bool {
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
        sink.add(&document.source, node.span, message, "write it again");
    }
}

/// An invisible character, or a space that is no space of ASCII.
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
    fn invisible_characters_in_names_are_found() {
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
    fn line_ends_of_older_readers_are_found() {
        for (character, shown) in
            [('\u{85}', r"\u{85}"), ('\u{2028}', r"\u{2028}"), ('\u{2029}', r"\u{2029}")]
        {
            let message = format!("some readers of YAML take `{shown}` for the end of a line");
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
    fn descriptive_texts_may_have_spaces() {
        for text in [
            "_config: {_metadata: {description: '持续　集成\u{a0}', name: web}}",
            "_config: {a: 'one\u{a0}two', b: \"\u{a0}one\\ntwo\u{a0}\", c: 持续}",
        ] {
            assert_eq!(found(text), Vec::<String>::new());
        }
    }
}
