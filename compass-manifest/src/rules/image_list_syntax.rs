use crate::escape::quote;
use crate::finding::Severity;
use crate::image::{is_repository, is_tag};
use crate::policy::Registries;
use crate::release::Release;
use crate::rule::{Findings, Rule};
use crate::source::Span;

pub(crate) static RULE: Rule = Rule {
    code: "image-list-syntax",
    summary: "a line of an image list is `project/name:tag`",
    severity: Severity::Error,
    docs: "\
### What it does
Checks the lines of image lists: `project/name:tag`, where the project is one that the policy knows
(`registries.projects`), and nothing else. Empty lines and `#` comments may stand between them.
Blanks at the ends of a line are a warning.

### Why is this bad?
Scripts split such lines at blanks and slashes: a wrong one is skipped, or another image is pulled.

### Example
```
library/php/7.1-apache
release/microservice-admin: v0.0.3
```

### What to do
Write `library/php:7.1-apache`.
",
    apply,
};

fn apply(release: &Release<'_>, findings: &mut Findings<'_>) {
    for list in &release.lists {
        let source = &list.document.source;
        for image in &list.images {
            if let Some(fault) = fault(&image.text, &release.policy.registries) {
                let message = format!("{} is not an image of a list: {fault}", quote(&image.text));
                findings.add(source, image.span, message, "write `project/name:tag`");
            } else if has_blanks(source.text(), image.span) {
                let help = "remove them: some tools take them for a part of the tag";
                findings
                    .add(source, image.span, "there are blanks around this image", help)
                    .severity(Severity::Warning);
            }
        }
    }
}

/// Whether a line has the form of an image, whatever its project.
pub(super) fn is_listable(text: &str) -> bool {
    split(text).is_some()
}

fn fault(text: &str, registries: &Registries) -> Option<String> {
    let Some((project, _)) = split(text) else {
        return Some("it is not `project/name:tag`".to_owned());
    };
    let known: Vec<_> = registries.projects.keys().map(String::as_str).collect();
    (!known.contains(&project))
        .then(|| format!("{} is not a project; there are {}", quote(project), known.join(", ")))
}

/// The project of a line, and what is below it.
fn split(text: &str) -> Option<(&str, &str)> {
    let (project, rest) = text.split_once('/')?;
    let (name, tag) = rest.split_once(':')?;
    let valid = is_repository(project) && is_repository(name) && is_tag(tag);
    valid.then_some((project, rest))
}

fn has_blanks(text: &str, span: Span) -> bool {
    let blank = |c: char| c == ' ' || c == '\t';
    text[span.end..].starts_with(blank) || text[..span.start].ends_with(blank)
}

#[cfg(test)]
mod tests {
    use crate::{Policy, check};

    /// The code and the severity of what is found about a list of one line.
    fn found(line: &str) -> Vec<String> {
        let tree = [("images-lists/platform.list", line)].into_iter().collect();
        let report = check(&tree, &Policy::default());
        let about = report.findings().iter().filter(|finding| finding.code == "image-list-syntax");
        about.map(|finding| format!("{:?}: {}", finding.severity, finding.message)).collect()
    }

    #[test]
    fn each_part_of_an_image_has_its_form() {
        for line in ["Library/php:7", "library/Php:7", "library/php:-7", "library/php", "php:7"] {
            let said =
                format!("Error: `{line}` is not an image of a list: it is not `project/name:tag`");
            assert_eq!(found(line), [said]);
        }
        assert_eq!(found("library/php:7"), Vec::<String>::new());
    }

    #[test]
    fn blanks_on_either_side_are_pointed_out() {
        for line in [" library/php:7", "library/php:7 ", "\tlibrary/php:7", "library/php:7\t\r\n"] {
            assert_eq!(found(line), ["Warning: there are blanks around this image"], "{line:?}");
        }
    }
}
