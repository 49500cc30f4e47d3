//! Reads, checks and renders bytes as a plugin manifest.
#![no_main]

use compass_manifest::render::{self, Style};
use compass_manifest::yaml::{self, MAX_DEPTH, MAX_NODES, Node};
use compass_manifest::{Policy, Tree, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = "release-plugins/gpu.yaml";
    let (source, document) = yaml::read(path, bytes);
    match &document {
        Ok(root) => {
            let nodes = count_nodes(root, source.text(), 0, 0..source.text().len());
            assert!(nodes <= MAX_NODES);
        }
        Err(error) => {
            assert!(!error.message.is_empty());
            assert!(source.text().get(error.span.range()).is_some());
        }
    }
    let tree: Tree = [(path, bytes)].into_iter().collect();
    let report = check(&tree, &Policy::default());
    assert_eq!(
        document.is_err(),
        report.findings().iter().any(|finding| finding.code == "yaml-syntax")
    );
    render::text(&report, Style::Plain);
    render::json(&report);
});

/// Counts the nodes, and checks that each one lies inside its parent.
/// The target of an alias may lie anywhere in the text.
fn count_nodes(node: &Node, text: &str, depth: usize, parent: std::ops::Range<usize>) -> usize {
    let span = node.span.range();
    assert!(depth <= 2 * MAX_DEPTH);
    let covered = text.get(span.clone()).expect("a span of whole characters");
    assert!(parent.start <= span.start && span.end <= parent.end, "{span:?} in {parent:?}");
    let within = if covered.starts_with('*') { 0..text.len() } else { span };
    let children = node.entries().iter().flat_map(|entry| [&entry.key, &entry.value]);
    children
        .chain(node.items())
        .map(|child| count_nodes(child, text, depth + 1, within.clone()))
        .sum::<usize>()
        + 1
}
