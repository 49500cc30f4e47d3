use std::collections::BTreeSet;

use crate::escape::quote;
use crate::finding::Severity;
use crate::rule::{FindingSink, Rule, RuleContext};

pub(crate) static RULE: Rule = Rule {
    code: "product-file-path",
    summary: "an extra file of a product has a place inside the bundle",
    severity: Severity::Error,
    docs: "\
### What it does
Checks `spec.files` of product manifests: `path` is relative, without `..`, each once, and `mode` is
an octal number of permissions.

### Why is this bad?
A bundle that writes outside its own directory is refused on site, and rightly.

### Example
```yaml
files: [{source: hack/install.sh, path: ../install.sh}]
```

### What to do
Write a relative path.
",
    apply,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for product in &repository.products {
        let source = &product.document.source;
        let mut seen = BTreeSet::new();
        for file in &product.manifest.files {
            if let Some(path) = &file.path {
                let help = "write a relative path without `.` and `..`, each once";
                if !is_inside(&path.value) {
                    let message =
                        format!("{} is not a place inside the bundle", quote(&path.value));
                    sink.add(source, path.span, message, help);
                } else if !seen.insert(&path.value) {
                    let message = format!("two files have the place {}", quote(&path.value));
                    sink.add(source, path.span, message, help);
                }
            }
            if let Some(mode) = file.mode.as_ref().filter(|mode| !is_mode(&mode.value)) {
                let message = format!("{} is not a file mode", quote(&mode.value));
                sink.add(source, mode.span, message, "write it in quotes, as `\"0755\"`");
            }
        }
    }
}

fn is_inside(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !path.contains(|c: char| c == '\\' || c.is_control())
}

fn is_mode(mode: &str) -> bool {
    // Those of a file's owner, its group and others: no bundle has a `setuid` file.
    let permissions = if mode.len() == 4 { mode.strip_prefix('0') } else { Some(mode) };
    permissions.is_some_and(|digits| {
        digits.len() == 3 && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::{is_inside, is_mode};

    #[test]
    fn a_mode_has_three_octal_digits() {
        for mode in ["644", "0755", "055"] {
            assert!(is_mode(mode), "{mode}");
        }
        for mode in ["", "75", "00755", "0778", "4755", "rwx"] {
            assert!(!is_mode(mode), "{mode}");
        }
    }

    #[test]
    fn place_has_no_control_characters() {
        assert!(is_inside("a/b c"));
        for path in ["", "/a", "a/../b", "a\\b", "a\u{1b}[2J", "a\nb", "a\u{9b}"] {
            assert!(!is_inside(path), "{path:?}");
        }
    }
}
