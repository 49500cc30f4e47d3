use crate::escape::quote;
use crate::finding::Severity;
use crate::image::{is_repository, is_tag};
use crate::image_refs::is_registry_host;
use crate::policy::Registries;
use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext};
use crate::source::Span;

pub(crate) static RULE: Rule = Rule {
    code: "image-list-syntax",
    summary: "a line of an image list is `project/name:tag`",
    severity: Severity::Error,
    docs: "\
### What it does
Checks the lines of image lists: `project/name:tag`, where the project is one that the policy knows
(`registries.projects`), and nothing else: no registry in front of it, and no comment behind it.
Empty lines and `#` comments may stand between them. A list is UTF-8 text.
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
    blocks_packaging: BlocksPackaging::Always,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for list in &repository.lists {
        let source = &list.document.source;
        if let Some(error) = &list.unreadable {
            let help = error.help.unwrap_or("write one `project/name:tag` on a line");
            sink.add(source, error.span, &error.message, help);
        }
        for image in &list.images {
            if let Some(fault) = fault(&image.text, &repository.policy.registries) {
                let message = format!("{} is not an image of a list: {fault}", quote(&image.text));
                sink.add(source, image.span, message, "write `project/name:tag`");
            } else if has_blanks(source.text(), image.span) {
                let help = "remove them: some tools take them for a part of the tag";
                sink.add(source, image.span, "there are blanks around this image", help)
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
    let first = text.split('/').next().unwrap_or_default();
    if is_registry_host(first) && text.contains('/') && !registries.projects.contains_key(first) {
        return Some(format!("{} is a registry, and no project", quote(first)));
    }
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
    fn list_line_of_other_form_fails() {
        for (line, says) in [
            ("docker.io/library/php:7", "`docker.io` is a registry"),
            ("localhost:5000/library/php:7", "`localhost:5000` is a registry"),
            ("harbor.caicloud.xyz/release/web:v1", "is a registry"),
            ("library/php:7\u{a0}", r"`library/php:7\u{a0}` is not an image"),
            ("\u{a0}library/php:7", "is not an image"),
            ("library/php:7 # note", "is not an image"),
            ("library/php:7@sha256:00", "is not an image"),
        ] {
            let found = found(line);
            assert!(found.len() == 1 && found[0].contains(says), "{line:?}: {found:?}");
        }
    }

    #[test]
    fn list_unreadable_is_one_error() {
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
    fn blanks_on_either_side_are_pointed_out() {
        for line in [" library/php:7", "library/php:7 ", "\tlibrary/php:7", "library/php:7\t\r\n"] {
            assert_eq!(found(line), ["Warning: there are blanks around this image"], "{line:?}");
        }
    }
}
