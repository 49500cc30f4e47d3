use crate::escape::quote;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::Span;
use crate::version::ProductVersion;

pub(crate) static RULE: Rule =
    Rule::new("hotfix-base-mismatch", "a hotfix is in the directory of its product version", apply)
        .with_docs(RuleDocs {
            what: "Compares the product version in the path with the one in the HOTFIXVERSION.",
            why: "\
The package is published under one version and named after another: a site does not find the hotfix,
or installs one for another product version.",
            example: "`release-hotfixes/v2.7.1/console-web-v2.7.0-20180605-p1/…`",
            fix: "Move the directory, or correct the HOTFIXVERSION.",
        });

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
                    "the hotfix is for {}, but it is in the directory of {}",
                    quote(version.base()),
                    quote(&directory)
                ),
                format!("move it to {}, or correct the version", quote(version.base())),
            );
        }
    }
}
