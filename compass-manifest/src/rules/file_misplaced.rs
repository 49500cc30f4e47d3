use crate::finding::Severity;
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::source::{SourceFile, Span};

pub(crate) static RULE: Rule = Rule {
    code: "file-misplaced",
    summary: "a release directory contains only files of releases",
    severity: Severity::Error,
    docs: "\
### What it does
Reports files in the directories of plugins, hotfixes and products that no command reads. `README…`
and hidden files are permitted.

### Why is this bad?
The author expects the file to be released, but it is not.

### Example
`release-plugins/gpu/manager.yaml`: plugin manifests must be directly in `release-plugins`.

### What to do
Move it to the path that the policy expects, or out of the release directories.
",
    apply,
    needs_layout: true,
    ..Rule::DEFAULTS
};

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
