use crate::finding::Severity;
use crate::rule::{FindingSink, Rule, RuleContext};
use crate::source::{SourceFile, Span};

pub(crate) static RULE: Rule = Rule {
    code: "file-misplaced",
    summary: "every file in a release directory is one that a release is made of",
    severity: Severity::Error,
    docs: "\
### What it does
Reports files in the directories of plugins, hotfixes and products that nothing reads. `README…`
and hidden files may stand there.

### Why is this bad?
Whoever put it there meant it to be released. It will not be.

### Example
`release-plugins/gpu/manager.yaml`: plugin manifests stand directly in `release-plugins`.

### What to do
Move it to its place, or out of the release directories.
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
            "nothing is released from this file",
            "move it to its place, or out of the release directories",
        );
    }
}
