use super::base_addon;
use crate::diff::{Difference, differences};
use crate::escape::quote_name;
use crate::finding::Severity;
use crate::repository::HotfixFile;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};

pub(crate) static RULE: Rule = Rule::new(
    "hotfix-field-changed",
    "a hotfix changes only its image, version and description",
    apply,
)
.with_docs(RuleDocs {
    what: "\
Compares the values of a hotfix with those of the addon that it patches. The addon comes from the
tag of the product version, otherwise from the product's directory; if neither exists and the change
touches the hotfix, from the base. The image of the first container, name, version and description
may differ. A difference in another field under `controllers` is a note, any other is an error.",
    why: "\
A hotfix replaces all values of the addon, including those that it changes by mistake.",
    example: "\
```yaml
_config:
  _metadata:
    namespace: kube-system   # default in the addon
```",
    fix: "Copy the values of the addon: `compass bump hotfix ADDON` does it.",
});

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
        "check that the hotfix needs this change"
    } else {
        "revert it: a hotfix changes only fields under `_config.controllers`"
    };
    let message = match (&difference.old, &difference.new) {
        (Some(old), Some(new)) => {
            format!("{} changes from {old} to {new}", quote_name(path))
        }
        (Some(old), None) => {
            format!("{} is removed; the addon has {old}", quote_name(path))
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
