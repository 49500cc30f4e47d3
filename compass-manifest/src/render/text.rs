use std::borrow::Cow;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::escape::{escape, escape_lines};
use crate::finding::{Finding, Location, Severity};
use crate::policy::PolicyError;
use crate::report::Report;
use crate::source::SourceFile;

/// The style of rendered text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Style {
    /// Text without terminal escapes.
    #[default]
    Plain,
    /// Text with ANSI colours.
    Colour,
}

/// Renders each finding with its source line, without a summary.
pub fn text(report: &Report, style: Style) -> String {
    let mut output = String::new();
    for finding in report.findings() {
        output.push_str(&render_finding(report, finding, style));
        output.push_str("\n\n");
    }
    output
}

impl PolicyError {
    /// Renders the error with its source line.
    pub fn render(&self, source: &SourceFile, style: Style) -> String {
        let group = Level::ERROR
            .primary_title(escape(&self.message))
            .element(snippet(source).annotation(primary(&self.location, "")));
        renderer(style).render(&[with_help(group, &self.help)])
    }
}

fn render_finding(report: &Report, finding: &Finding, style: Style) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = match finding.preexisting {
        true => format!("{} (existed before this change)", escape(&finding.message)),
        false => escape(&finding.message).into_owned(),
    };
    let mut group = Group::with_title(level.primary_title(title).id(finding.code));
    let source = report.source(&finding.location.file);
    if let Some(source) = source.filter(|source| !source.text().is_empty()) {
        let (here, elsewhere): (Vec<_>, Vec<_>) = finding
            .related
            .iter()
            .partition(|related| related.location.file == finding.location.file);
        let mut shown = snippet(source).annotation(primary(&finding.location, &finding.label));
        for related in here {
            let span = related.location.span.range();
            shown =
                shown.annotation(AnnotationKind::Context.span(span).label(escape(&related.label)));
        }
        group = group.element(shown);
        for related in elsewhere {
            if let Some(source) = report.source(&related.location.file) {
                let span = related.location.span.range();
                group =
                    group.element(snippet(source).annotation(
                        AnnotationKind::Context.span(span).label(escape(&related.label)),
                    ));
            }
        }
    } else {
        // An empty file, or an entry without content, has no line to show.
        group = group.element(Origin::path(escape(&finding.location.file)));
    }
    renderer(style).render(&[with_help(group, &finding.help)])
}

fn with_help<'a>(group: Group<'a>, help: &'a str) -> Group<'a> {
    if help.is_empty() { group } else { group.element(Level::HELP.message(escape_lines(help))) }
}

fn snippet(source: &SourceFile) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
    Snippet::source(printable_source(source.text())).path(escape(source.path()))
}

/// Replaces the characters that a terminal interprets.
///
/// The renderer does not escape these characters. The replacements have the same length in bytes,
/// so that spans stay valid.
fn printable_source(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c: char| {
        matches!(
            c,
            '\u{80}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
        )
    };
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| match c.len_utf8() {
        _ if !is_unsafe(c) => c,
        2 => '·',
        _ => char::REPLACEMENT_CHARACTER,
    };
    Cow::Owned(text.chars().map(shown).collect())
}

fn primary<'a>(location: &Location, label: &'a str) -> annotate_snippets::Annotation<'a> {
    let annotation = AnnotationKind::Primary.span(location.span.range());
    if label.is_empty() { annotation } else { annotation.label(escape(label)) }
}

fn renderer(style: Style) -> Renderer {
    match style {
        Style::Plain => Renderer::plain(),
        Style::Colour => Renderer::styled(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::escape::is_unprintable;
    use crate::{Policy, Tree, check};

    #[test]
    fn text_values_cannot_inject_terminal_escapes() {
        let mut tree = Tree::new();
        tree.insert("release-plugins/x.yaml", "metadata: {name: \"\\e]0;t\\a\"}\nspec: {}\n");
        let text = text(&check(&tree, &Policy::default()), Style::Plain);
        assert!(text.contains("rename the file"), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }

    #[test]
    fn text_hostile_values_are_escaped() {
        let hostile =
            ["\u{1b}[2J", "\n::error::", "\r", "\u{85}", "\u{9b}2J", "\u{202e}", "\u{2028}"];
        for hostile in hostile {
            let mut tree = Tree::new();
            let escapes = hostile.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
            let value: String = escapes.collect();
            tree.insert(format!("release-plugins/a{hostile}b.yaml"), "a: 1\n");
            tree.insert(format!("release-plugins/a{hostile}b.txt"), "");
            tree.insert(
                "release-plugins/x.yaml",
                format!("metadata: {{name: 'x{hostile}x'}} # {hostile}\n"),
            );
            tree.insert("release-plugins/y.yaml", format!("metadata: {{\"y{value}\": 1}}\n"));
            let report = check(&tree, &Policy::default());
            let text = text(&report, Style::Plain);
            let is_safe = |c: char| c == '\n' || !is_unprintable(c);
            assert!(text.chars().all(is_safe), "{hostile:?}: {text:?}");
            assert!(text.lines().all(|line| !line.trim_start().starts_with("::")), "{text}");
        }
    }
}
