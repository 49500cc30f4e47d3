use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::{SourceFile, Span};

pub(crate) static RULE: Rule =
    Rule::new("file-misplaced", "a release directory contains only files of releases", apply)
        .with_needs_layout()
        .with_docs(RuleDocs {
            what: "\
Reports files in the directories of plugins, hotfixes and products that no command reads. `README…`
and hidden files are permitted.",
            why: "The author expects the file to be released, but it is not.",
            example: "\
`release-plugins/gpu/manager.yaml`: plugin manifests must be directly in `release-plugins`.",
            fix: "Move it to the path that the policy expects, or out of the release directories.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for path in &repository.unexpected_files {
        let source = SourceFile::new(path.as_str(), "");
        sink.add(
            &source,
            Span::default(),
            "no command reads this file",
            "move it to the path that the policy expects, or out of the release directories",
        );
    }
}
