use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::finding::{Finding, Place, Report, Severity};
use crate::policy::PolicyError;
use crate::source::SourceFile;

/// How text is decorated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// With nothing but characters.
    #[default]
    Plain,
    /// With terminal colours.
    Colour,
}

/// The report for people: each finding with the source line under it, without a summary.
pub fn text(report: &Report, style: Style) -> String {
    let mut output = String::new();
    for finding in report.findings() {
        output.push_str(&render_finding(report, finding, style));
        output.push_str("\n\n");
    }
    output
}

impl PolicyError {
    /// The error for people, with the source line under it.
    pub fn render(&self, source: &SourceFile, style: Style) -> String {
        let group = Level::ERROR
            .primary_title(self.message.as_str())
            .element(snippet(source).annotation(primary(&self.place, "")));
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
        true => format!("{} (stood before this change)", finding.message),
        false => finding.message.clone(),
    };
    let mut group = Group::with_title(level.primary_title(title).id(finding.code));
    let source = report.source(&finding.place.file);
    if let Some(source) = source.filter(|source| !source.text().is_empty()) {
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            finding.related.iter().partition(|related| related.place.file == finding.place.file);
        let mut shown = snippet(source).annotation(primary(&finding.place, &finding.label));
        for related in here {
            let span = related.place.span.range();
            shown =
                shown.annotation(AnnotationKind::Context.span(span).label(visible(&related.label)));
        }
        group = group.element(shown);
        for related in elsewhere {
            if let Some(source) = report.source(&related.place.file) {
                let span = related.place.span.range();
                group =
                    group.element(snippet(source).annotation(
                        AnnotationKind::Context.span(span).label(visible(&related.label)),
                    ));
            }
        }
    } else {
        // A file that was not read, or is empty, has no line to show.
        group = group.element(Origin::path(finding.place.file.as_str()));
    }
    renderer(style).render(&[with_help(group, &finding.help)])
}

fn with_help<'a>(group: Group<'a>, help: &'a str) -> Group<'a> {
    if help.is_empty() { group } else { group.element(Level::HELP.message(visible(help))) }
}

/// A text in which control characters are shown, and do nothing to a terminal: the library does so
/// for titles and sources only.
fn visible(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => c.to_string(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

fn snippet(source: &SourceFile) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
    Snippet::source(source.text()).path(source.path())
}

fn primary<'a>(place: &Place, label: &'a str) -> annotate_snippets::Annotation<'a> {
    let annotation = AnnotationKind::Primary.span(place.span.range());
    if label.is_empty() { annotation } else { annotation.label(visible(label)) }
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
    use crate::{Policy, Tree, check};

    #[test]
    fn nothing_in_a_repository_can_write_to_the_terminal() {
        let mut tree = Tree::new();
        tree.insert("release-plugins/x.yaml", "metadata: {name: \"\\e]0;t\\a\"}\nspec: {}\n");
        let text = text(&check(&tree, &Policy::default()), Style::Plain);
        assert!(text.contains("rename the file"), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }
}
