use crate::escape::quote;
use crate::finding::Severity;
use crate::release::Release;
use crate::rule::{Findings, Rule};
use crate::version::PluginVersion;

pub(super) static RULE: Rule = Rule {
    code: "plugin-version-format",
    summary: "`spec.version` of a plugin is `vMAJOR.MINOR.PATCH`",
    severity: Severity::Error,
    docs: "\
### What it does
Checks that `spec.version` is `vMAJOR.MINOR.PATCH`; with `plugins.prerelease: true` in the policy
also `vMAJOR.MINOR.PATCH-PRERELEASE`.

### Why is this bad?
Versions in another form cannot be compared, so nobody can tell which package is the newer one.

### Example
```yaml
spec:
  version: 1.0.6
```

### What to do
Write `v1.0.6`.
",
    apply,
};

fn apply(release: &Release<'_>, findings: &mut Findings<'_>) {
    for plugin in &release.plugins {
        let Some(written) = &plugin.manifest.version else {
            continue;
        };
        match written.value.parse::<PluginVersion>() {
            Ok(version) if version.is_prerelease() && !release.policy.plugins.prerelease => {
                findings.add(
                    &plugin.document.source,
                    written.span,
                    format!("{} is a pre-release", quote(&version)),
                    "release a version of the form `vMAJOR.MINOR.PATCH`, or set `plugins.prerelease: true` in the policy",
                );
            }
            Ok(_) => {}
            Err(error) => {
                findings.add(
                    &plugin.document.source,
                    written.span,
                    error.to_string(),
                    "write a version of the form `vMAJOR.MINOR.PATCH`, as `v0.1.0`",
                );
            }
        }
    }
}
