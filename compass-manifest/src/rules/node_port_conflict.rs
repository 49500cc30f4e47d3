use crate::repository::AddonFile;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::rules::PortClaim;

pub(crate) static RULE: Rule =
    Rule::new("node-port-conflict", "each node port is used by one addon of a product", apply)
        .with_docs(RuleDocs {
            what: "\
Reports a node port that a product's services claim twice, in one addon or in several. One service
may use a port for several protocols. An addon in an overlay directory replaces the addon of the
same name. Hotfixes are not compared, because they repeat the ports of the addon that they
replace.",
            why: "The addon that is installed second does not start.",
            example: "\
Two addons with
```yaml
nodePort: 30069
```",
            fix: "Choose another port for one of them.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    super::report_port_conflicts(repository, "node port", claims, sink);
}

fn claims(addon: &AddonFile) -> Vec<PortClaim<'_>> {
    let claims = addon.values.node_ports.iter();
    // Leave the protocol empty: services must not share a port even if their protocols differ.
    claims.map(|claim| PortClaim { protocol: "", port: &claim.port }).collect()
}
