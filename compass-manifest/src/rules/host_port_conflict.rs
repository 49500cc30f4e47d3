use crate::repository::AddonFile;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::rules::PortClaim;

pub(crate) static RULE: Rule =
    Rule::new("host-port-conflict", "each host port is used by one addon of a product", apply)
        .with_docs(RuleDocs {
            what: "\
Reports a host port that a product's containers claim twice for one protocol, in one addon or in
several. An addon in an overlay directory replaces the addon of the same name. Hotfixes are not
compared, because they repeat the ports of the addon that they replace.",
            why: "The addon that is installed second does not start.",
            example: "\
Two addons with
```yaml
hostPort: 9100
```",
            fix: "Choose another port for one of them.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    super::report_port_conflicts(repository, "host port", claims, sink);
}

fn claims(addon: &AddonFile) -> Vec<PortClaim<'_>> {
    let claims = addon.values.containers.iter().flat_map(|container| &container.host_ports);
    claims.map(|claim| PortClaim { protocol: &claim.protocol, port: &claim.port }).collect()
}
