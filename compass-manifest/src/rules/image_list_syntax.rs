use crate::escape::quote;
use crate::finding::Severity;
use crate::image::{is_repository, is_tag};
use crate::image_refs::is_registry_host;
use crate::policy::Registries;
use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::Span;

pub(crate) static RULE: Rule =
    Rule::new("image-list-syntax", "a line of an image list is `project/name:tag`", apply)
        .with_blocks_packaging(BlocksPackaging::Always)
        .with_docs(RuleDocs {
            what: "\
Checks that image lists are UTF-8 text, and that each line is `project/name:tag`, with a project of
`registries.projects` of the policy and without a registry host. Empty lines and lines that begin
with `#` are ignored. Whitespace around an image is a warning.",
            why: "\
Scripts split the lines at whitespace and slashes: they skip an invalid line, or pull another
image.",
            example: "\
```
library/php/7.1-apache
release/microservice-admin: v0.0.3
```",
            fix: "Write `library/php:7.1-apache`.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for list in &repository.lists {
        let source = &list.document.source;
        if let Some(error) = &list.unreadable {
            let help = error.help.unwrap_or("write one `project/name:tag` per line");
            sink.add(source, error.span, &error.message, help);
        }
        for image in &list.images {
            if let Some(problem) = problem(&image.text, &repository.policy.registries) {
                let message = format!(
                    "{} is not a valid line of an image list: {problem}",
                    quote(&image.text)
                );
                sink.add(source, image.span, message, "write `project/name:tag`");
            } else if has_whitespace_around(source.text(), image.span) {
                let help = "remove it: some tools read it as part of the tag";
                sink.add(source, image.span, "this image has whitespace around it", help)
                    .severity(Severity::Warning);
            }
        }
    }
}

/// Returns whether a line is `project/name:tag`, with any project.
pub(super) fn is_listable(text: &str) -> bool {
    split(text).is_some()
}

fn problem(text: &str, registries: &Registries) -> Option<String> {
    let first = text.split('/').next().unwrap_or_default();
    if is_registry_host(first) && text.contains('/') && !registries.projects.contains_key(first) {
        return Some(format!("{} is a registry host, not a project", quote(first)));
    }
    let Some((project, _)) = split(text) else {
        return Some("it is not `project/name:tag`".to_owned());
    };
    let known: Vec<_> = registries.projects.keys().map(String::as_str).collect();
    (!known.contains(&project)).then(|| {
        format!(
            "{} is not a project of the policy; known projects: {}",
            quote(project),
            known.join(", ")
        )
    })
}

/// Splits a valid line into project and `name:tag`.
fn split(text: &str) -> Option<(&str, &str)> {
    let (project, rest) = text.split_once('/')?;
    let (name, tag) = rest.split_once(':')?;
    let valid = is_repository(project) && is_repository(name) && is_tag(tag);
    valid.then_some((project, rest))
}

fn has_whitespace_around(text: &str, span: Span) -> bool {
    let blank = |c: char| c == ' ' || c == '\t';
    text[span.end..].starts_with(blank) || text[..span.start].ends_with(blank)
}

#[cfg(test)]
mod tests {
    use crate::{Policy, check};

    /// Returns severity and message of the findings about an image list with one line.
    fn found(line: &str) -> Vec<String> {
        let tree = [("images-lists/platform.list", line)].into_iter().collect();
        let report = check(&tree, &Policy::default());
        let about = report.findings().iter().filter(|finding| finding.code == "image-list-syntax");
        about.map(|finding| format!("{:?}: {}", finding.severity, finding.message)).collect()
    }

    #[test]
    fn list_line_invalid_part_fails() {
        for line in ["Library/php:7", "library/Php:7", "library/php:-7", "library/php", "php:7"] {
            let expected = format!(
                "Error: `{line}` is not a valid line of an image list: it is not `project/name:tag`"
            );
            assert_eq!(found(line), [expected]);
        }
        assert_eq!(found("library/php:7"), Vec::<String>::new());
    }

    #[test]
    fn list_line_of_other_form_fails() {
        for (line, says) in [
            ("docker.io/library/php:7", "`docker.io` is a registry host"),
            ("localhost:5000/library/php:7", "`localhost:5000` is a registry"),
            ("harbor.example/release/web:v1", "is a registry"),
            ("library/php:7\u{a0}", r"`library/php:7\u{a0}` is not a valid line"),
            ("\u{a0}library/php:7", "is not a valid line"),
            ("library/php:7 # note", "is not a valid line"),
            ("library/php:7@sha256:00", "is not a valid line"),
        ] {
            let found = found(line);
            assert!(found.len() == 1 && found[0].contains(says), "{line:?}: {found:?}");
        }
    }

    #[test]
    fn list_unreadable_file_is_one_error() {
        let utf16 =
            |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        for (bytes, says) in [
            (utf16("\u{feff}library/php:7\r\nlibrary/redis:7\r\n"), "UTF-8"),
            (utf16("library/php:7\r\nlibrary/redis:7\r\n"), "UTF-8"),
            (b"library/php:7\xff\nlibrary/redis:7\xff\n".to_vec(), "UTF-8"),
            (b"<<<<<<< HEAD\nlibrary/php:7\n=======\nlibrary/php:8\n".to_vec(), "conflict marker"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n".to_vec(), "Git LFS"),
            (b"library/php:7\n".repeat(400_000), "at most"),
        ] {
            let tree = [("images-lists/platform.list", bytes)].into_iter().collect();
            let report = check(&tree, &Policy::default());
            let [finding] = report.findings() else { panic!("{says}: {:?}", report.findings()) };
            assert_eq!(finding.code, "image-list-syntax");
            assert!(finding.message.contains(says), "{}", finding.message);
        }
    }

    #[test]
    fn list_line_whitespace_is_warning() {
        for line in [" library/php:7", "library/php:7 ", "\tlibrary/php:7", "library/php:7\t\r\n"] {
            assert_eq!(found(line), ["Warning: this image has whitespace around it"], "{line:?}");
        }
    }
}
