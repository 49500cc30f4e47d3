use crate::escape::{quote, quote_name};
use crate::finding::Severity;
use crate::repository::{ProductFile, ReleaseRepository};
use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext, RuleDocs};
use crate::tree::EntryKind;
use crate::yaml::Node;

pub(crate) static RULE: Rule =
    Rule::new("missing-file", "the files that product manifests and chart lists name exist", apply)
        .with_blocks_packaging(BlocksPackaging::InProductManifest)
        .with_needs_layout()
        .with_docs(RuleDocs {
            what: "\
Checks that the image lists, the addon directory and the extra files of product manifests exist, and
the addon of each entry of a chart list. A Git LFS pointer to a packaged file is a warning: its
content must be fetched before packaging.",
            why: "The bundle is incomplete.",
            example: "\
```yaml
imageLists: [\"image-lists/*.list\"]   # the directory is images-lists
```",
            fix: "Correct the path, or add the file.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for product in &repository.products {
        check_lists(repository, product, sink);
        check_addons(repository, product, sink);
        check_files(repository, product, sink);
    }
    check_charts(repository, sink);
}

fn check_lists(repository: &ReleaseRepository, product: &ProductFile, sink: &mut FindingSink<'_>) {
    for (named, pattern) in product.manifest.list_patterns() {
        let Ok(pattern) = pattern else { continue };
        let is_read = repository.lists.iter().any(|list| pattern.matches(list.document.path()));
        // `not-regular-file` reports a link or submodule that may hide the lists.
        let is_obstructed = repository.tree.entries().any(|(path, kind)| {
            kind.is_obstacle() && (pattern.matches(path) || pattern.may_match_below(path))
        });
        if !is_read && !is_obstructed {
            let message = format!("{} matches no image list", quote(&named.value));
            let help = "correct the path, or add the file";
            sink.add(&product.document.source, named.span, message, help);
        }
    }
}

fn check_addons(repository: &ReleaseRepository, product: &ProductFile, sink: &mut FindingSink<'_>) {
    let Some(named) = &product.manifest.addons else { return };
    let directory = product.manifest.addons_directory().unwrap_or_default();
    let has_files =
        repository.tree.paths().any(|path| product.manifest.path_in_addons(path).is_some());
    if !has_files && repository.tree.obstacle(directory).is_none() {
        let message = format!("the addon directory {} is empty or missing", quote(&named.value));
        let help = "correct the path, or add the addons";
        sink.add(&product.document.source, named.span, message, help);
    }
}

fn check_files(repository: &ReleaseRepository, product: &ProductFile, sink: &mut FindingSink<'_>) {
    let source = &product.document.source;
    for named in product.manifest.files.iter().filter_map(|file| file.source.as_ref()) {
        if repository.tree.obstacle(&named.value).is_none()
            && !repository.tree.contains(&named.value)
        {
            let message = format!("there is no file {}", quote(&named.value));
            let help = "correct the path, or add the file";
            sink.add(source, named.span, message, help);
        }
    }
    // The severity is a warning, because only packaging needs the content.
    let pointers = repository
        .tree
        .entries()
        .filter(|(path, kind)| *kind == EntryKind::LfsPointer && product.manifest.packs(path));
    for (path, _) in pointers {
        let span = product.manifest.span_of(path);
        let message = format!("{} is a Git LFS pointer instead of its content", quote_name(path));
        let help = "fetch the content before packaging: `git lfs pull`";
        sink.add(source, span, message, help).severity(Severity::Warning);
    }
}

/// Adds a finding for each entry of a chart list without an addon.
///
/// The addon may be in an addon directory or an overlay directory.
fn check_charts(repository: &ReleaseRepository, sink: &mut FindingSink<'_>) {
    let policy = &repository.policy.products;
    let directories: Vec<_> = policy.addons.iter().chain(&policy.overlays).collect();
    if repository.addons.is_empty() {
        return;
    }
    for document in &repository.charts {
        let Ok(root) = &document.root else { continue };
        for entry in root.items_at(&["spec"]) {
            let target = entry.get("targetPath").and_then(Node::text).unwrap_or_default();
            for resource in entry.items_at(&["resourcePaths"]) {
                let path = resource.text().unwrap_or_default();
                let name = path.rsplit('/').next().unwrap_or(path);
                let exists = directories.iter().any(|directory| {
                    repository.tree.contains(&format!("{directory}/{target}/{name}"))
                });
                if !exists {
                    let message = format!(
                        "the addon `{target}/{name}`, collected from {}, does not exist",
                        quote(path)
                    );
                    let help = "collect the charts again, or remove the entry";
                    sink.add(&document.source, resource.span, message, help);
                }
            }
        }
    }
}
