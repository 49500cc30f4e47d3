use std::collections::BTreeMap;

use crate::escape::quote;
use crate::finding::Subject;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};

pub(crate) static RULE: Rule = Rule::new("slot-conflict", "each slot is used by one plugin", apply)
    .with_docs(RuleDocs {
        what: "\
Reports a slot that several plugins claim. Modules of one plugin may share a slot, and
`plugins.shared_slots` of the policy lists the slots that plugins may share.",
        why: "The user interface shows only one of the plugins.",
        example: "\
Two plugins with
```yaml
modules:
- name: a
  slots: [system.gpu]
```",
        fix: "Choose another slot for one of them, or add the slot to `plugins.shared_slots`.",
    });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let mut claims: BTreeMap<&str, Vec<super::Claim<'_>>> = BTreeMap::new();
    for plugin in &repository.plugins {
        for slot in plugin.manifest.modules.iter().flat_map(|module| &module.slots) {
            let claims = claims.entry(&slot.value).or_default();
            if claims.last().is_none_or(|claim| claim.plugin.stem != plugin.stem) {
                claims.push(super::Claim { plugin, span: slot.span });
            }
        }
    }
    let shared =
        |slot: &str| repository.policy.plugins.shared_slots.iter().any(|p| p.matches(slot));
    claims.retain(|slot, _| !shared(slot));
    for (slot, claims) in claims {
        super::report_conflict(
            &claims,
            &format!("slot {}", quote(slot)),
            &Subject::Slot(slot.to_owned()),
            "choose another slot, or list it in `plugins.shared_slots` of the policy",
            sink,
        );
    }
}
