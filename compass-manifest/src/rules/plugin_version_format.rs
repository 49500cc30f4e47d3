use crate::escape::quote;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::version::PluginVersion;

pub(crate) static RULE: Rule =
    Rule::new("plugin-version-format", "`spec.version` of a plugin is `vMAJOR.MINOR.PATCH`", apply)
        .with_docs(RuleDocs {
            what: "\
Checks that `spec.version` is `vMAJOR.MINOR.PATCH`. With `plugins.prerelease: true` in the policy,
`vMAJOR.MINOR.PATCH-PRERELEASE` is valid too.",
            why: "Versions in another format cannot be compared to find the newest package.",
            example: "\
```yaml
spec:
  version: 1.0.6
```",
            fix: "Write `v1.0.6`.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for plugin in &repository.plugins {
        let Some(written) = &plugin.manifest.version else {
            continue;
        };
        match written.value.parse::<PluginVersion>() {
            Ok(version) if version.is_prerelease() && !repository.policy.plugins.prerelease => {
                sink.add(
                    &plugin.document.source,
                    written.span,
                    format!("{} is a pre-release", quote(&version)),
                    "write `vMAJOR.MINOR.PATCH`, or set `plugins.prerelease: true` in the policy",
                );
            }
            Ok(_) => {}
            Err(error) => {
                sink.add(
                    &plugin.document.source,
                    written.span,
                    error.to_string(),
                    "write `vMAJOR.MINOR.PATCH`, for example `v0.1.0`",
                );
            }
        }
    }
}
