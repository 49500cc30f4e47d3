use crate::escape::quote;
use crate::finding::Severity;
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::version::PluginVersion;

pub(crate) static RULE: Rule = Rule {
    code: "plugin-version-not-increased",
    summary: "a changed plugin has a greater version than before",
    severity: Severity::Error,
    docs: "\
### What it does
Compares each changed plugin manifest with the one at the base: its `spec.version` must be
greater. Changed comments and layout alone need no new version.

### Why is this bad?
Packages are kept by version and never change: another content under the same version cannot be
published, and sites do not see that there is something new.

### Example
```yaml
spec:
  version: v0.1.3   # and v0.1.3 or v0.1.4 at the base
```

### What to do
`compass bump plugin NAME` writes the next version, and the image's tag with it.
",
    apply,
    ..Rule::DEFAULTS
};

fn apply(context: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let RuleContext { repository, change: Some(change), .. } = context else { return };
    for plugin in &repository.plugins {
        let Some(old) =
            change.plugin(plugin).filter(|old| !old.document.semantically_eq(&plugin.document))
        else {
            continue;
        };
        let (Some(written), Some(before)) = (&plugin.manifest.version, &old.manifest.version)
        else {
            continue;
        };
        let help = format!("`compass bump plugin {}` writes the next version", plugin.stem);
        let source = &plugin.document.source;
        if written.value == before.value {
            let message =
                format!("the plugin changed, and its version is still {}", quote(&before.value));
            sink.add(source, written.span, message, help);
            continue;
        }
        let versions = (written.value.parse::<PluginVersion>(), before.value.parse());
        if let (Ok(new), Ok(old)) = versions
            && new <= old
        {
            let message = format!("the version goes down, from {} to {}", quote(&old), quote(&new));
            sink.add(source, written.span, message, help);
        }
    }
}
