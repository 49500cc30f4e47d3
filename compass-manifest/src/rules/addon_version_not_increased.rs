use crate::addon::AddonValues;
use crate::escape::quote;
use crate::finding::Severity;
use crate::repository::Document;
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::version::ComponentVersion;

pub(crate) static RULE: Rule = Rule {
    code: "addon-version-not-increased",
    summary: "a changed addon or hotfix has a new version",
    severity: Severity::Error,
    docs: "\
### What it does
Compares each changed addon and hotfix with its state at the base: if its values changed,
`_config._metadata.version` must change too, and must not decrease. For addons this is a warning.

### Why is this bad?
An installation does not update an addon whose version did not change.

### Example
```yaml
_metadata: {name: cargo-admin, version: v0.4.14}   # as at the base
controllers:
- containers:
  - image: '[[ registry_release ]]/cargo-admin:v0.4.15'
```

### What to do
Set the version of the changed component. For a hotfix, use the next HOTFIXVERSION.
",
    apply,
    ..Rule::DEFAULTS
};

fn apply(context: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let RuleContext { repository, change: Some(change), .. } = context else { return };
    for hotfix in &repository.hotfixes {
        if let Some(old) = change.hotfix(hotfix) {
            let (before, after) =
                ((&old.document, &old.values), (&hotfix.document, &hotfix.values));
            compare(before, after, Severity::Error, sink);
        }
    }
    for addon in &repository.addons {
        if let Some(old) = change.addon(addon) {
            let (before, after) = ((&old.document, &old.values), (&addon.document, &addon.values));
            compare(before, after, Severity::Warning, sink);
        }
    }
}

type Values<'r> = (&'r Document, &'r AddonValues);

fn compare(before: Values<'_>, after: Values<'_>, severity: Severity, sink: &mut FindingSink<'_>) {
    let (Some(old), Some(new)) = (&before.1.version, &after.1.version) else { return };
    if before.0.semantically_eq(after.0) {
        return;
    }
    let (old, written) = (&old.value, &new.value);
    let message = if old == written {
        format!("the values changed, but the version is still {}", quote(old))
    } else if goes_down(old, written) {
        format!("the version decreases from {} to {}", quote(old), quote(written))
    } else {
        return;
    };
    let help = "set the version of the changed component";
    sink.add(&after.0.source, new.span, message, help).severity(severity);
}

fn goes_down(old: &str, new: &str) -> bool {
    let parsed = (old.parse::<ComponentVersion>(), new.parse::<ComponentVersion>());
    matches!(parsed, (Ok(old), Ok(new)) if new < old)
}
