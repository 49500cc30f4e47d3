use crate::diff::differences;
use crate::finding::Severity;
use crate::policy::POLICY_FILE;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::{SourceFile, Span};
use crate::tree::Tree;
use crate::yaml::{self, Node};

pub(crate) static RULE: Rule =
    Rule::new("policy-changed", "a change does not edit the policy", apply)
        .with_severity(Severity::Warning)
        .with_docs(RuleDocs {
            what: "\
Compares `.compass.yaml` with its state at the base, and names each key that differs. Comments and
layout are ignored.

The change is checked by the policy of the base, so it cannot turn off a rule for itself. Findings
that only one of the two policies gives are marked.",
            why: "\
The policy sets the rules, the registries and the reviewers. A change of it affects every later
release, so it needs a separate review.",
            example: "\
```yaml
version: 1
rules: {change-scope: off}   # `change-scope: error` at the base
```",
            fix: "\
Review the keys in the message. Move the change of the policy to a separate pull request.",
        });

/// The maximum number of keys that a message names.
const MAX_KEYS: usize = 20;

fn apply(context: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let RuleContext { repository, change: Some(change), .. } = context else { return };
    if !change.touches(POLICY_FILE) {
        return;
    }
    let help = "the policy of the base still applies to this change; review each key";
    let (source, new) = read(&repository.tree);
    let (_, old) = read(&change.base.tree);
    let (Some(old), Some(new)) = (old, new) else {
        let message = "the change edits the policy, which cannot be read";
        sink.add(&source, Span::default(), message, help);
        return;
    };
    let changed = differences(&old, &new);
    // `version` is the format of the file instead of a setting.
    let changed: Vec<_> = changed.into_iter().filter(|one| one.path != "version").collect();
    let Some(first) = changed.first() else { return };
    let keys = changed.iter().take(MAX_KEYS).map(|one| format!("`{}`", one.path));
    let mut keys = keys.collect::<Vec<_>>().join(", ");
    if changed.len() > MAX_KEYS {
        keys += &format!(" and {} more", changed.len() - MAX_KEYS);
    }
    sink.add(&source, first.span, format!("the change edits the policy: {keys}"), help);
}

/// Parses the policy file; a missing file is an empty mapping.
fn read(tree: &Tree) -> (SourceFile, Option<Node>) {
    match tree.get(POLICY_FILE) {
        Some(bytes) => {
            let (source, root) = yaml::read(POLICY_FILE, bytes);
            (source, root.ok())
        }
        None if tree.contains(POLICY_FILE) => (SourceFile::new(POLICY_FILE, ""), None),
        None => (SourceFile::new(POLICY_FILE, ""), yaml::parse("{}").ok()),
    }
}
