use crate::escape::{is_format, quote};
use crate::finding::Severity;
use crate::image_use::DESCRIPTIVE;
use crate::release::{Document, Release};
use crate::rule::{Findings, Rule};
use crate::yaml::Node;

pub(crate) static RULE: Rule = Rule {
    code: "invisible-character",
    summary: "keys and values have no invisible characters",
    severity: Severity::Error,
    docs: "\
### What it does
Reports no-break and other wide spaces at the ends of keys and values, and characters without a shape
(zero-width, byte order mark, change of direction) anywhere in them. Texts for people and texts of
several lines may have them.

### Why is this bad?
`system.gpu` with a no-break space behind it is another slot than `system.gpu`, and looks the same.

### Example
A name that was pasted from a web page or a chat

### What to do
Write the value again.
",
    apply,
};

fn apply(release: &Release<'_>, findings: &mut Findings<'_>) {
    for document in release.documents() {
        if let Ok(root) = &document.root
            && may_have_some(document.source.text())
        {
            walk(document, root, findings);
        }
    }
}

/// Whether a text is worth a closer look. Most files have only what can be seen; in double quotes a
/// character may be written as `\u200b`.
fn may_have_some(text: &str) -> bool {
    text.contains('\\') || (!text.is_ascii() && text.contains(is_suspicious))
}

fn walk(document: &Document, root: &Node, findings: &mut Findings<'_>) {
    let mut pending = vec![root];
    while let Some(node) = pending.pop() {
        pending.extend(node.items());
        for entry in node.entries() {
            check(document, &entry.key, "key", findings);
            if !entry.key.text().is_some_and(|key| DESCRIPTIVE.contains(&key)) {
                pending.push(&entry.value);
            }
        }
        check(document, node, "value", findings);
    }
}

fn check(document: &Document, node: &Node, what: &str, findings: &mut Findings<'_>) {
    let Some(text) = node.text().filter(|text| !text.contains('\n')) else { return };
    let at_end = text.starts_with(is_suspicious) || text.ends_with(is_suspicious);
    if at_end || text.contains(is_format) {
        let message = format!("the {what} {} has an invisible character", quote(text));
        findings.add(&document.source, node.span, message, "write it again");
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
    fn descriptive_texts_may_have_spaces() {
        for text in [
            "_config: {_metadata: {description: '持续　集成\u{a0}', name: web}}",
            "_config: {a: 'one\u{a0}two', b: \"\u{a0}one\\ntwo\u{a0}\", c: 持续}",
        ] {
            assert_eq!(found(text), Vec::<String>::new());
        }
    }
}
