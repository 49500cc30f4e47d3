use crate::finding::Severity;
use crate::repository::AddonFile;
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::rules::PortClaim;

pub(crate) static RULE: Rule = Rule {
    code: "node-port-conflict",
    summary: "a node port belongs to one addon of a product",
    severity: Severity::Error,
    docs: "\
### What it does
Reports a node port that services of several addons of one product claim, or of one addon twice. One
service may have a port for several protocols. An addon of an overlay directory replaces the one of
its name, and a hotfix repeats the ports of the addon that it replaces.

### Why is this bad?
Whichever is installed second does not start.

### Example
Two addons with
```yaml
nodePort: 30069
```

### What to do
Choose another port for one of them.
",
    apply,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    super::report_port_conflicts(repository, "node port", claims, sink);
}

fn claims(addon: &AddonFile) -> Vec<PortClaim<'_>> {
    let claims = addon.values.node_ports.iter();
    // Services may not share a port, whatever their protocols are.
    claims.map(|claim| PortClaim { protocol: "", port: &claim.port }).collect()
}
