use super::base_addon;
use crate::diff::{Difference, differences};
use crate::escape::quote_name;
use crate::finding::Severity;
use crate::repository::HotfixFile;
use crate::rule::{FindingSink, Rule, RuleContext};

pub(crate) static RULE: Rule = Rule {
    code: "hotfix-field-changed",
    summary: "a hotfix changes an image, and little else",
    severity: Severity::Error,
    docs: "\
### What it does
Compares the values of a hotfix with those of the addon in the product version that it patches:
from the tag of that version, from its directory, or (where neither is there) from `addons` beside
a hotfix that is being changed. The image of the first container is expected to differ, and name,
version and description may. Other fields under `controllers` are noted. Anything else is an error.

### Why is this bad?
A hotfix replaces the addon's values as a whole. What was not meant to change changes on site.

### Example
```yaml
_config:
  _metadata:
    namespace: kube-system   # default in the addon
```

### What to do
Begin from the values of the addon: `compass bump hotfix ADDON` copies them.
",
    apply,
    ..Rule::DEFAULTS
};

fn apply(context: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for hotfix in &context.repository.hotfixes {
        let Some(addon) = base_addon::of(context, hotfix) else { continue };
        let documents = (&addon.document.root, &hotfix.document.root);
        let (Ok(old), Ok(new)) = documents else { continue };
        for difference in differences(old, new) {
            report(hotfix, &difference, sink);
        }
    }
}

fn report(hotfix: &HotfixFile, difference: &Difference, sink: &mut FindingSink<'_>) {
    let path = &difference.path;
    if EXPECTED.contains(&path.as_str()) {
        return;
    }
    let under_controllers = path.starts_with("_config.controllers");
    let severity = if under_controllers { Severity::Note } else { Severity::Error };
    let help = if under_controllers {
        "make sure that this belongs to the hotfix"
    } else {
        "take it back: a hotfix changes only what is under `_config.controllers`"
    };
    let message = match (&difference.old, &difference.new) {
        (Some(old), Some(new)) => {
            format!("{} changes from {old} to {new}", quote_name(path))
        }
        (Some(old), None) => {
            format!("{} is gone; it is {old} in the addon", quote_name(path))
        }
        (None, Some(new)) => format!("{} is new: {new}", quote_name(path)),
        (None, None) => return,
    };
    sink.add(&hotfix.document.source, difference.span, message, help).severity(severity);
}

const EXPECTED: &[&str] = &[
    "_config.controllers[0].containers[0].image",
    "_config._metadata.name",
    "_config._metadata.version",
    "_config._metadata.description",
];
