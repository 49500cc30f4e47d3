use crate::escape::quote;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::Span;

pub(crate) static RULE: Rule =
    Rule::new("hotfix-namespace", "the namespace of a hotfix is one of the policy's", apply)
        .with_docs(RuleDocs {
            what: "\
Checks that the namespaces in the path and in `_config._metadata.namespace` are equal, and one of
`hotfixes.namespaces` of the policy (by default `default` and `kube-system`).",
            why: "The hotfix installs the addon a second time, in another namespace.",
            example: "\
`release-hotfixes/v2.7.0/console-web-v2.7.0-20180605-p1/kube-sytem/console/web/values.yaml`",
            fix: "Use the namespace of the addon.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let known = &repository.policy.hotfixes.namespaces;
    let help = format!("write one of {}", known.join(", "));
    for hotfix in &repository.hotfixes {
        let source = &hotfix.document.source;
        let written = hotfix.values.namespace.as_ref();
        let directory = hotfix.path.namespace.as_ref();
        if let Some(namespace) = directory.filter(|namespace| !known.contains(namespace)) {
            let message =
                format!("{} in the path is not a namespace of the platform", quote(namespace));
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
                "the namespace is {} here, but {} in the path",
                quote(&written.value),
                quote(directory)
            );
            sink.add(source, written.span, message, "use the same namespace for both");
        }
    }
}
