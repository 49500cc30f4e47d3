use crate::escape::quote;
use crate::finding::Severity;
use crate::policy::{PathPattern, Policy};
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::Span;

pub(crate) static RULE: Rule = Rule::new(
    "hotfix-path",
    "the path of a hotfix matches a pattern of the policy",
    apply,
)
.with_needs_layout()
.with_docs(RuleDocs {
    what: "\
Compares the path of each hotfix with `hotfixes.patterns` of the policy. The built-in pattern is
`release-hotfixes/<product version>/<addon>-<HOTFIXVERSION>/<namespace>/<group>/<addon>/values.yaml`.
The directory `release-plugins` instead of `release-hotfixes` is accepted with a warning.",
    why: "\
Commands read addon, version and namespace from the path. With another path, the package gets a
wrong name or is not built.",
    example: "`release-hotfixes/compass-hotfixea-mongo-v0.0.4/default/infra/mongo/values.yaml`",
    fix: "Move the file, or add a pattern to `hotfixes.patterns` of the policy.",
});

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for hotfix in &repository.hotfixes {
        let (source, path) = (&hotfix.document.source, &hotfix.path);
        if path.format.is_none() {
            sink.add(
                source,
                Span::default(),
                "the path matches no hotfix pattern of the policy",
                expected(&repository.policy),
            );
        } else if path.among_plugins {
            let directory = repository.policy.hotfixes.directories.first();
            let directory = directory.map_or("release-hotfixes", String::as_str);
            sink.add(
                source,
                Span::default(),
                "the hotfix is in the directory of the plugins",
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
                        "the package is named after addon {}, but the directory is {}",
                        quote(addon),
                        quote(leaf)
                    ),
                    "use the same name for both",
                );
            }
        }
    }
}

fn expected(policy: &Policy) -> String {
    let first = policy.hotfixes.patterns.first();
    let is_built_in = PathPattern::is_built_in;
    if first.is_some_and(is_built_in) {
        let directory = policy.hotfixes.directories.first();
        let directory = directory.map_or("release-hotfixes", String::as_str);
        format!(
            "move it to `{directory}/<product version>/<addon>-<HOTFIXVERSION>/<namespace>/<group>/<addon>/values.yaml`"
        )
    } else {
        "compare it with `hotfixes.patterns` of the policy".to_owned()
    }
}
