use crate::finding::Severity;
use crate::repository::AddonFile;
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::rules::PortClaim;

pub(crate) static RULE: Rule = Rule {
    code: "host-port-conflict",
    summary: "a host port belongs to one addon of a product",
    severity: Severity::Error,
    docs: "\
### What it does
Reports a host port that containers of several addons of one product claim for one protocol, or of
one addon twice. An addon of an overlay directory replaces the one of its name, and a hotfix repeats
the ports of the addon that it replaces.

### Why is this bad?
Whichever is installed second does not start.

### Example
Two addons with
```yaml
hostPort: 9100
```

### What to do
Choose another port for one of them.
",
    apply,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    super::report_port_conflicts(repository, "host port", claims, sink);
}

fn claims(addon: &AddonFile) -> Vec<PortClaim<'_>> {
    let claims = addon.values.containers.iter().flat_map(|container| &container.host_ports);
    claims.map(|claim| PortClaim { protocol: &claim.protocol, port: &claim.port }).collect()
}
