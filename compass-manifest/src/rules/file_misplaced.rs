use crate::finding::Severity;
use crate::release::Release;
use crate::rule::{Findings, Rule};
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
};

fn apply(release: &Release<'_>, findings: &mut Findings<'_>) {
    for path in &release.strays {
        let source = SourceFile::new(path.as_str(), "");
        findings.add(
            &source,
            Span::default(),
            "nothing is released from this file",
            "move it to its place, or out of the release directories",
        );
    }
}
