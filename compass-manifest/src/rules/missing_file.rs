use crate::finding::Severity;
use crate::policy::Pattern;
use crate::release::Release;
use crate::rule::{Findings, Rule};
use crate::source::Spanned;
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
        let mut miss = |path: &Spanned<String>, what: &str| {
            let message = format!("`{}` is not there: {what}", path.value);
            findings.add(source, path.span, message, "correct the path, or add the file");
        };
        for list in &product.manifest.image_lists {
            let pattern = Pattern::new(&list.value);
            if !release.tree.paths().any(|path| pattern.matches(path)) {
                miss(list, "no image list has this path");
            }
        }
        if let Some(directory) = &product.manifest.addons {
            let prefix = format!("{}/", directory.value.trim_end_matches('/'));
            if !release.tree.paths().any(|path| path.starts_with(&prefix)) {
                miss(directory, "the directory of the addons is empty");
            }
        }
        for file in product.manifest.files.iter().filter_map(|file| file.source.as_ref()) {
            if !release.tree.contains(&file.value) {
                miss(file, "there is no such file");
            }
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
                        format!("no addon was collected from `{path}` to `{target}/{name}`");
                    let help = "collect the charts again, or remove the entry";
                    findings.add(&document.source, resource.span, message, help);
                }
            }
        }
    }
}
