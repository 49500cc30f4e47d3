use crate::escape::quote;
use crate::finding::Severity;
use crate::policy::{PathPattern, Policy};
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::source::Span;

pub(crate) static RULE: Rule = Rule {
    code: "hotfix-path",
    summary: "a hotfix stands where the policy says that hotfixes stand",
    severity: Severity::Error,
    docs: "\
### What it does
Compares the path of each hotfix with the patterns of the policy. By the written process it is
`release-hotfixes/<product version>/<addon>-<HOTFIXVERSION>/<namespace>/<group>/<addon>/values.yaml`.
The same path under `release-plugins` is read too, with a warning.

### Why is this bad?
Addon, version and namespace are taken from the path: from another one a package gets a wrong name,
or is never made.

### Example
`release-hotfixes/compass-hotfixea-mongo-v0.0.4/default/infra/mongo/values.yaml`

### What to do
Move the file, or add a pattern to `hotfixes.patterns` of the policy.
",
    apply,
    needs_layout: true,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for hotfix in &repository.hotfixes {
        let (source, path) = (&hotfix.document.source, &hotfix.path);
        if path.format.is_none() {
            sink.add(
                source,
                Span::default(),
                "the path is not that of a hotfix",
                expected(&repository.policy),
            );
        } else if path.among_plugins {
            let directory = repository.policy.hotfixes.directories.first();
            let directory = directory.map_or("release-hotfixes", String::as_str);
            sink.add(
                source,
                Span::default(),
                "the hotfix stands in the directory of the plugins",
                format!("move it to `{directory}/`"),
            )
            .severity(Severity::Warning);
        } else if let (Some(addon), Some(leaf)) = (&path.addon, &path.leaf) {
            let grouped = path.group.as_ref().map(|group| format!("{group}-{leaf}"));
            if ![Some(leaf), grouped.as_ref(), path.group.as_ref()].contains(&Some(addon)) {
                sink.add(
                    source,
                    Span::default(),
                    format!(
                        "the package is for addon {}, and the directory is {}",
                        quote(addon),
                        quote(leaf)
                    ),
                    "use one name for both",
                );
            }
        }
    }
}

fn expected(policy: &Policy) -> String {
    let first = policy.hotfixes.patterns.first();
    let written = PathPattern::is_written_process;
    if first.is_some_and(written) {
        let directory = policy.hotfixes.directories.first();
        let directory = directory.map_or("release-hotfixes", String::as_str);
        format!(
            "a hotfix is `{directory}/<product version>/<addon>-<HOTFIXVERSION>/<namespace>/<group>/<addon>/values.yaml`"
        )
    } else {
        "compare it with `hotfixes.patterns` of the policy".to_owned()
    }
}
