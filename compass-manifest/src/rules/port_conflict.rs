use std::collections::BTreeMap;

use crate::finding::Subject;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};

pub(crate) static RULE: Rule = Rule::new("port-conflict", "each port is used by one plugin", apply)
    .with_docs(RuleDocs {
        what: "\
Reports a `spec.service.port` that several plugins claim. `plugins.shared_ports` of the policy lists
the ports that plugins may share.",
        why: "If plugins share an address, only one of them can listen on the port.",
        example: "\
Two plugins with
```yaml
service:
  port: 8080
```",
        fix: "\
Choose another port for one of them. If each service has its own address, add the port to
`plugins.shared_ports`.",
    });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let mut claims: BTreeMap<u16, Vec<super::Claim<'_>>> = BTreeMap::new();
    for plugin in &repository.plugins {
        if let Some(port) = &plugin.manifest.port {
            claims.entry(port.value).or_default().push(super::Claim { plugin, span: port.span });
        }
    }
    claims.retain(|port, _| !repository.policy.plugins.shared_ports.contains(port));
    for (port, claims) in claims {
        super::report_conflict(
            &claims,
            &format!("port {port}"),
            &Subject::Port(port),
            "choose another port, or list it in `plugins.shared_ports` of the policy",
            sink,
        );
    }
}
