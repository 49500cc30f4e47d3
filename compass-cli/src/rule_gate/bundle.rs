//! Applies the rules to the YAML of a bundle before it is published.

use compass_bundle::Bundle;
use compass_bundle::document::{BundleDocument, BundleKind};
use compass_manifest::finding::Finding;
use compass_manifest::product::ProductManifest;
use compass_manifest::{Policy, Tree, check, yaml};

use super::{GateArgs, require_none};
use crate::error::Result;
use crate::image_usage::is_yaml;
use crate::output::Output;

/// Returns an error if the rules find errors in the YAML of a bundle.
pub(crate) async fn require_no_errors(
    bundle: &Bundle,
    policy: &Policy,
    gate: &GateArgs,
    output: &Output,
) -> Result<()> {
    if gate.is_skipped(output) {
        return Ok(());
    }
    let tree = tree(bundle, policy).await?;
    let report = check(&tree, policy);
    let is_relevant = |finding: &&Finding| !finding.needs_layout;
    require_none(report.findings().iter().filter(is_relevant))
}

/// The files of a bundle at the paths that they have in a release repository.
async fn tree(bundle: &Bundle, policy: &Policy) -> Result<Tree> {
    let document = bundle.document();
    let mut tree = Tree::new();
    let mut addons = None;
    for entry in bundle.files() {
        if !is_yaml(&entry.path) {
            continue;
        }
        let bytes = bundle.file(&entry.path).await?;
        if document.kind == BundleKind::Product && entry.path == "product.yaml" {
            let root = yaml::read(&entry.path, &bytes).1;
            let manifest = root.as_ref().map(ProductManifest::read).unwrap_or_default();
            addons = manifest.addons_directory().map(str::to_owned);
        }
        let path = path_in_repository(&entry.path, document, policy, addons.as_deref());
        tree.insert(path, bytes);
    }
    Ok(tree)
}

fn path_in_repository(
    path: &str,
    document: &BundleDocument,
    policy: &Policy,
    addons: Option<&str>,
) -> String {
    let first = |directories: &[String]| directories.first().cloned().unwrap_or_default();
    let BundleDocument { kind, name, version, .. } = document;
    match kind {
        BundleKind::Plugin => format!("{}/{path}", first(&policy.plugins.directories)),
        BundleKind::Hotfix => {
            let base = document.base_version.clone().or_else(|| {
                let version = version.parse::<compass_manifest::version::HotfixVersion>();
                version.ok().map(|version| version.base().to_string())
            });
            let directory = first(&policy.hotfixes.directories);
            let base = base.map(|base| format!("/{base}")).unwrap_or_default();
            format!("{directory}{base}/{name}-{version}/{path}")
        }
        _ if path == "product.yaml" => {
            format!("{}/{version}.yaml", first(&policy.products.directories))
        }
        _ => match (path.strip_prefix("addons/"), addons) {
            (Some(rest), Some(addons)) => format!("{addons}/{rest}"),
            _ => path.to_owned(),
        },
    }
}
