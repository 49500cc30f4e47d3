use crate::escape::quote;
use crate::finding::Severity;
use crate::release::Release;
use crate::rule::{Findings, Rule};
use crate::yaml::Node;

pub(crate) static RULE: Rule = Rule {
    code: "missing-file",
    summary: "what a product manifest or a chart list names is there",
    severity: Severity::Error,
    docs: "\
### What it does
Looks for the image lists, the addon directory and the extra files of product manifests, and for the
addon of each entry of a chart list.

### Why is this bad?
The bundle would lack it.

### Example
```yaml
imageLists: [\"image-lists/*.list\"]   # the directory is images-lists
```

### What to do
Correct the path, or add the file.
",
    apply,
};

fn apply(release: &Release<'_>, findings: &mut Findings<'_>) {
    for product in &release.products {
        let source = &product.document.source;
        for (path, what) in product.manifest.absent(release.tree) {
            let message = format!("{} is not there: {what}", quote(&path.value));
            findings.add(source, path.span, message, "correct the path, or add the file");
        }
    }
    charts(release, findings);
}

/// Charts are collected into the first addon or overlay directory.
fn charts(release: &Release<'_>, findings: &mut Findings<'_>) {
    let policy = &release.policy.products;
    let directories: Vec<_> = policy.addons.iter().chain(&policy.overlays).collect();
    if release.addons.is_empty() {
        return;
    }
    for document in &release.charts {
        let Ok(root) = &document.root else { continue };
        for entry in root.get("spec").map(Node::items).unwrap_or_default() {
            let target = entry.get("targetPath").and_then(Node::text).unwrap_or_default();
            for resource in entry.get("resourcePaths").map(Node::items).unwrap_or_default() {
                let path = resource.text().unwrap_or_default();
                let name = path.rsplit('/').next().unwrap_or(path);
                let there = directories.iter().any(|directory| {
                    release.tree.contains(&format!("{directory}/{target}/{name}"))
                });
                if !there {
                    let message =
                        format!("no addon was collected from {} to `{target}/{name}`", quote(path));
                    let help = "collect the charts again, or remove the entry";
                    findings.add(&document.source, resource.span, message, help);
                }
            }
        }
    }
}
