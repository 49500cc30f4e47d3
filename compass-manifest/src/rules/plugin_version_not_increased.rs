use crate::escape::quote;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::version::PluginVersion;

pub(crate) static RULE: Rule = Rule::new(
    "plugin-version-not-increased",
    "a changed plugin has a greater version",
    apply,
)
.with_docs(RuleDocs {
    what: "\
Compares each changed plugin manifest with its state at the base: `spec.version` must increase.
Changes of comments and layout need no new version.",
    why: "\
A published version never changes: other contents cannot be published under it, and sites do not see
the update.",
    example: "\
```yaml
spec:
  version: v0.1.3   # and v0.1.3 or v0.1.4 at the base
```",
    fix: "Run `compass bump plugin NAME`, which writes the next version and the image's tag.",
});

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
        let help = format!("write the next version: `compass bump plugin {}`", plugin.stem);
        let source = &plugin.document.source;
        if written.value == before.value {
            let message =
                format!("the plugin changed, but its version is still {}", quote(&before.value));
            sink.add(source, written.span, message, help);
            continue;
        }
        let versions = (written.value.parse::<PluginVersion>(), before.value.parse());
        if let (Ok(new), Ok(old)) = versions
            && new <= old
        {
            let message = format!("the version goes down from {} to {}", quote(&old), quote(&new));
            sink.add(source, written.span, message, help);
        }
    }
}
