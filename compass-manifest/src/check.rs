//! Applies the rules to a release repository.

use std::collections::BTreeMap;

use crate::finding::Report;
use crate::plugin::{self, PluginManifest};
use crate::policy::Policy;
use crate::rule::{Findings, PluginFile, Release};
use crate::rules;
use crate::shape;
use crate::source::{SourceFile, Span};
use crate::tree::Tree;
use crate::yaml::{self, SyntaxError};

/// Judges a release repository as it stands.
///
/// ```
/// use compass_manifest::{Policy, Tree, check};
///
/// let tree: Tree = [("release-plugins/gpu.yaml", "metadata: {name: cpu}\nspec: {}\n")]
///     .into_iter()
///     .collect();
/// let report = check(&tree, &Policy::default());
/// assert!(report.findings().iter().any(|finding| finding.code == "plugin-name-mismatch"));
/// ```
pub fn check(tree: &Tree, policy: &Policy) -> Report {
    let release = Release { policy, plugins: plugin_files(tree, policy) };
    let mut found = Vec::new();
    for rule in rules::ALL {
        (rule.apply)(&release, &mut Findings { rule, found: &mut found });
    }
    found.sort_by(|a, b| (&a.place, a.code, &a.message).cmp(&(&b.place, b.code, &b.message)));
    let sources: BTreeMap<_, _> = release
        .plugins
        .into_iter()
        .map(|plugin| (plugin.source.path().to_owned(), plugin.source))
        .collect();
    Report { findings: found, sources }
}

/// The plugin manifest of a name: its source and what could be read of it.
pub fn read_plugin(
    tree: &Tree,
    policy: &Policy,
    name: &str,
) -> Option<(SourceFile, PluginManifest)> {
    let file = plugin_files(tree, policy).into_iter().find(|plugin| plugin.stem == name)?;
    Some((file.source, file.manifest))
}

/// The names of all plugins, ordered.
pub fn plugin_names(tree: &Tree, policy: &Policy) -> Vec<String> {
    let names = tree.files().filter_map(|(path, _)| plugin_stem(path, policy));
    names.map(str::to_owned).collect()
}

fn plugin_files(tree: &Tree, policy: &Policy) -> Vec<PluginFile> {
    let files = tree.files().filter_map(|(path, bytes)| {
        plugin_stem(path, policy).map(|stem| plugin_file(path, stem, bytes))
    });
    files.collect()
}

/// The plugin's name, where a path is that of a plugin manifest.
fn plugin_stem<'p>(path: &'p str, policy: &Policy) -> Option<&'p str> {
    let name = path.strip_prefix(&policy.plugins.directory)?.strip_prefix('/')?;
    let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml"))?;
    (!stem.contains('/') && !stem.starts_with('.')).then_some(stem)
}

fn plugin_file(path: &str, stem: &str, bytes: &[u8]) -> PluginFile {
    let (source, document) = match std::str::from_utf8(bytes) {
        Ok(text) => {
            let source = SourceFile::new(path, text);
            let document = yaml::parse(source.text());
            (source, document)
        }
        Err(error) => not_utf8(path, bytes, error.valid_up_to()),
    };
    let root = document.as_ref().ok();
    PluginFile {
        stem: stem.to_owned(),
        departures: root.map(|root| shape::compare(root, plugin::SHAPE)).unwrap_or_default(),
        manifest: root.map(PluginManifest::read).unwrap_or_default(),
        source,
        document,
    }
}

fn not_utf8(
    path: &str,
    bytes: &[u8],
    valid: usize,
) -> (SourceFile, Result<yaml::Node, SyntaxError>) {
    let source = SourceFile::new(path, String::from_utf8_lossy(bytes));
    let start = valid.min(source.text().len());
    let error = SyntaxError {
        message: "the file is not UTF-8 text".to_owned(),
        help: Some("save it as UTF-8"),
        span: Span { start, end: start },
    };
    (source, Err(error))
}
