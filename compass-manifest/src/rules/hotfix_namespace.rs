use crate::escape::quote;
use crate::finding::Severity;
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::source::Span;

pub(crate) static RULE: Rule = Rule {
    code: "hotfix-namespace",
    summary: "the addon of a hotfix lives in a namespace that the policy knows",
    severity: Severity::Error,
    docs: "\
### What it does
Checks the namespace in the path and in `_config._metadata.namespace` (by default `default` or
`kube-system`), and that both agree.

### Why is this bad?
The addon is installed a second time, in a namespace where nothing looks for it.

### Example
`release-hotfixes/v2.7.0/console-web-v2.7.0-20180605-p1/kube-sytem/console/web/values.yaml`

### What to do
Use the namespace of the addon.
",
    apply,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let known = &repository.policy.hotfixes.namespaces;
    let help = format!("write one of {}", known.join(", "));
    for hotfix in &repository.hotfixes {
        let source = &hotfix.document.source;
        let written = hotfix.values.namespace.as_ref();
        let directory = hotfix.path.namespace.as_ref();
        if let Some(namespace) = directory.filter(|namespace| !known.contains(namespace)) {
            let message = format!("the path has {} where a namespace belongs", quote(namespace));
            sink.add(source, Span::default(), message, help.as_str());
        }
        if let Some(namespace) = written.filter(|namespace| !known.contains(&namespace.value)) {
            let message = format!("{} is not a namespace of the platform", quote(&namespace.value));
            sink.add(source, namespace.span, message, help.as_str());
        }
        if let (Some(directory), Some(written)) = (directory, written)
            && *directory != written.value
            && known.contains(directory)
            && known.contains(&written.value)
        {
            let message = format!(
                "the namespace is {} here, and {} in the path",
                quote(&written.value),
                quote(directory)
            );
            sink.add(source, written.span, message, "use one namespace in both places");
        }
    }
}
