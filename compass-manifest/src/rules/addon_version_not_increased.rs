use crate::escape::quote;
use crate::finding::Severity;
use crate::repository::ValuesFile;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::version::ComponentVersion;

pub(crate) static RULE: Rule = Rule::new(
    "addon-version-not-increased",
    "a changed addon or hotfix has a new version",
    apply,
)
.with_docs(RuleDocs {
    what: "\
Compares each changed addon and hotfix with its state at the base: if its values changed,
`_config._metadata.version` must change too, and must not decrease. For addons this is a warning.",
    why: "An installation does not update an addon whose version did not change.",
    example: "\
```yaml
_metadata: {name: cargo-admin, version: v0.4.14}   # as at the base
controllers:
- containers:
  - image: '[[ registry_release ]]/cargo-admin:v0.4.15'
```",
    fix: "Set the version of the changed component. For a hotfix, use the next HOTFIXVERSION.",
});

fn apply(context: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let RuleContext { repository, change: Some(change), .. } = context else { return };
    for hotfix in &repository.hotfixes {
        if let Some(old) = change.hotfix(hotfix) {
            compare(old.values_file(), hotfix.values_file(), Severity::Error, sink);
        }
    }
    for addon in &repository.addons {
        if let Some(old) = change.addon(addon) {
            compare(old.values_file(), addon.values_file(), Severity::Warning, sink);
        }
    }
}

fn compare(
    before: ValuesFile<'_>,
    after: ValuesFile<'_>,
    severity: Severity,
    sink: &mut FindingSink<'_>,
) {
    let (Some(old), Some(new)) = (&before.values.version, &after.values.version) else { return };
    if before.document.semantically_eq(after.document) {
        return;
    }
    let (old, written) = (&old.value, &new.value);
    let message = if old == written {
        format!("the values changed, but the version is still {}", quote(old))
    } else if ComponentVersion::decreases(old, written) {
        format!("the version goes down from {} to {}", quote(old), quote(written))
    } else {
        return;
    };
    let help = "set the version of the changed component";
    sink.add(&after.document.source, new.span, message, help).severity(severity);
}
