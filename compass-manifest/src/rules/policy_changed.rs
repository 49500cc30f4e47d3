use crate::diff::differences;
use crate::finding::Severity;
use crate::policy::POLICY_FILE;
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::source::{SourceFile, Span};
use crate::tree::Tree;
use crate::yaml::{self, Node};

pub(crate) static RULE: Rule = Rule {
    code: "policy-changed",
    summary: "a change leaves the policy as it is",
    severity: Severity::Warning,
    docs: "\
### What it does
Compares `.compass.yaml` with the one at the base, and names each key that differs. Comments and
layout do not count.

The change itself is judged by the policy of the base, so it cannot switch off a rule for itself, or
this one. FindingSink that only one of the two policies gives say so.

### Why is this bad?
The policy decides what is checked, where images come from and go to, and who may approve. A change
of it concerns every later release, and deserves a review of its own.

### Example
```yaml
version: 1
rules: {change-scope: off}   # and `change-scope: error` at the base
```

### What to do
Review the keys that the message names. Put a change of the policy into a pull request of its own.
",
    apply,
    ..Rule::DEFAULTS
};

/// Keys that a message names.
const MAX_KEYS: usize = 20;

fn apply(context: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let RuleContext { repository, change: Some(change), .. } = context else { return };
    if !change.touches(POLICY_FILE) {
        return;
    }
    let help = "the change is judged by the policy of its base; review each key, best on its own";
    let (source, new) = read(&repository.tree);
    let (_, old) = read(&change.base.tree);
    let (Some(old), Some(new)) = (old, new) else {
        let message = "the change replaces the policy, and it cannot be read";
        sink.add(&source, Span::default(), message, help);
        return;
    };
    let changed = differences(&old, &new);
    // Names the format of the file, and decides nothing.
    let changed: Vec<_> = changed.into_iter().filter(|one| one.path != "version").collect();
    let Some(first) = changed.first() else { return };
    let keys = changed.iter().take(MAX_KEYS).map(|one| format!("`{}`", one.path));
    let mut keys = keys.collect::<Vec<_>>().join(", ");
    if changed.len() > MAX_KEYS {
        keys += &format!(" and {} more", changed.len() - MAX_KEYS);
    }
    sink.add(&source, first.span, format!("the change edits the policy: {keys}"), help);
}

/// The policy's file, and what YAML makes of it; a missing file is an empty mapping.
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
