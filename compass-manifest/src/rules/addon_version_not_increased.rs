use crate::addon::AddonValues;
use crate::escape::quote;
use crate::finding::Severity;
use crate::repository::Document;
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::version::ComponentVersion;

pub(crate) static RULE: Rule = Rule {
    code: "addon-version-not-increased",
    summary: "an addon or hotfix that changed has another version than before",
    severity: Severity::Error,
    docs: "\
### What it does
Compares each changed addon and hotfix with the one at the base: where its values changed,
`_config._metadata.version` must too, and not go down. For addons this is a warning.

### Why is this bad?
A site takes an addon of the same version for the same addon.

### Example
```yaml
_metadata: {name: cargo-admin, version: v0.4.14}   # as at the base
controllers:
- containers:
  - image: '[[ registry_release ]]/cargo-admin:v0.4.15'
```

### What to do
Give the addon the version of what it brings; give a hotfix the next HOTFIXVERSION.
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
        format!("the values changed, and the version is still {}", quote(old))
    } else if goes_down(old, written) {
        format!("the version goes down, from {} to {}", quote(old), quote(written))
    } else {
        return;
    };
    let help = "write the version of what the change brings";
    sink.add(&after.0.source, new.span, message, help).severity(severity);
}

fn goes_down(old: &str, new: &str) -> bool {
    let parsed = (old.parse::<ComponentVersion>(), new.parse::<ComponentVersion>());
    matches!(parsed, (Ok(old), Ok(new)) if new < old)
}
