use std::collections::BTreeSet;

use crate::escape::quote;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};

pub(crate) static RULE: Rule = Rule::new(
    "product-file-path",
    "an extra file of a product has a path inside the bundle",
    apply,
)
.with_docs(RuleDocs {
    what: "\
Checks `spec.files` of product manifests: each `path` must be relative, without `..`, and unique,
and `mode` must be octal permissions.",
    why: "Unpacking rejects a bundle that writes outside of its directory.",
    example: "\
```yaml
files: [{source: hack/install.sh, path: ../install.sh}]
```",
    fix: "Write a relative path inside the bundle.",
});

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for product in &repository.products {
        let source = &product.document.source;
        let mut seen = BTreeSet::new();
        for file in &product.manifest.files {
            if let Some(path) = &file.path {
                let help = "write a unique relative path without `.` and `..`";
                if !is_inside(&path.value) {
                    let message = format!("{} is not a path inside the bundle", quote(&path.value));
                    sink.add(source, path.span, message, help);
                } else if !seen.insert(&path.value) {
                    let message = format!("two files have the path {}", quote(&path.value));
                    sink.add(source, path.span, message, help);
                }
            }
            if let Some(mode) = file.mode.as_ref().filter(|mode| !is_mode(&mode.value)) {
                let message = format!("{} is not a file mode", quote(&mode.value));
                sink.add(source, mode.span, message, "write it in quotes, for example `\"0755\"`");
            }
        }
    }
}

fn is_inside(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !path.contains(|c: char| c == '\\' || c.is_control())
}

fn is_mode(mode: &str) -> bool {
    // A fourth digit must be 0: bundles contain no setuid, setgid or sticky files.
    let permissions = if mode.len() == 4 { mode.strip_prefix('0') } else { Some(mode) };
    permissions.is_some_and(|digits| {
        digits.len() == 3 && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::{is_inside, is_mode};

    #[test]
    fn is_mode_requires_three_octal_digits() {
        for mode in ["644", "0755", "055"] {
            assert!(is_mode(mode), "{mode}");
        }
        for mode in ["", "75", "00755", "0778", "4755", "rwx"] {
            assert!(!is_mode(mode), "{mode}");
        }
    }

    #[test]
    fn is_inside_rejects_escapes_and_controls() {
        assert!(is_inside("a/b c"));
        for path in ["", "/a", "a/../b", "a\\b", "a\u{1b}[2J", "a\nb", "a\u{9b}"] {
            assert!(!is_inside(path), "{path:?}");
        }
    }
}
