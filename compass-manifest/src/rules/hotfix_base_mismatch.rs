use crate::escape::quote;
use crate::finding::Severity;
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::source::Span;
use crate::version::ProductVersion;

pub(crate) static RULE: Rule = Rule {
    code: "hotfix-base-mismatch",
    summary: "a hotfix stands under the product version that its HOTFIXVERSION names",
    severity: Severity::Error,
    docs: "\
### What it does
Compares the product version of the directory with the one that HOTFIXVERSION begins with.

### Why is this bad?
The package is published under the one and named after the other: a site that looks for its hotfixes
does not find it, or installs one that was made for another product version.

### Example
`release-hotfixes/v2.7.1/console-web-v2.7.0-20180605-p1/…`

### What to do
Move the directory, or correct the HOTFIXVERSION.
",
    apply,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for hotfix in &repository.hotfixes {
        let Some(base) = &hotfix.path.base else { continue };
        let parsed = (base.parse::<ProductVersion>(), hotfix.hotfix_version());
        if let (Ok(directory), Some(version)) = parsed
            && !directory.is_same_release(version.base())
        {
            sink.add(
                &hotfix.document.source,
                Span::default(),
                format!(
                    "the hotfix is for {}, and stands under {}",
                    quote(version.base()),
                    quote(&directory)
                ),
                format!("move it to {}, or correct the version", quote(version.base())),
            );
        }
    }
}
