//! Tests that hostile files are parsed and checked in bounded time and memory.
//!
//! `benches/src/bin/check_hostile.rs` measures time and memory.
#![allow(missing_docs)]

#[path = "hostile/cases.rs"]
mod cases;

use compass_manifest::source::SourceFile;
use compass_manifest::yaml::{self, MAX_BYTES, MAX_DEPTH, MAX_NODES, Node};
use compass_manifest::{Policy, Tree, check};

use cases::CASES;

#[test]
fn hostile_yaml_errors_have_span_and_reason() {
    for case in CASES {
        let bytes = (case.bytes)();
        let (source, document) = yaml::read("release-plugins/x.yaml", &bytes);
        match (document, case.error) {
            (Ok(root), None) => assert_spans(&root, &source),
            (Err(error), Some(says)) => {
                assert!(error.message.contains(says), "{}: {}", case.name, error.message);
                assert!(!error.message.contains(char::is_control), "{}", case.name);
                assert!(source.text().get(error.span.range()).is_some(), "{}", case.name);
            }
            (document, expected) => {
                panic!("{}: {:?} instead of {expected:?}", case.name, document.map(drop))
            }
        }
    }
}

#[test]
fn hostile_plugins_can_be_checked() {
    for case in CASES {
        let tree: Tree = [("release-plugins/x.yaml", (case.bytes)())].into_iter().collect();
        let report = check(&tree, &Policy::default());
        let is_rejected = report.findings().iter().any(|finding| finding.code == "yaml-syntax");
        assert_eq!(is_rejected, case.error.is_some(), "{}", case.name);
    }
}

#[test]
fn hostile_policies_are_errors() {
    for case in CASES {
        // Skip the files that are not UTF-8, which `hostile_plugins_can_be_checked` covers.
        let Ok(text) = String::from_utf8((case.bytes)()) else { continue };
        assert!(Policy::parse(&SourceFile::new(".compass.yaml", text)).is_err(), "{}", case.name);
    }
}

#[test]
fn parse_depth_limit_is_exact() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("[{a: ", "}]")] {
        let levels = MAX_DEPTH / if open.len() == 5 { 2 } else { 1 };
        let deepest = open.repeat(levels) + &close.repeat(levels);
        assert_eq!(depth(&yaml::parse(&deepest).unwrap()), MAX_DEPTH, "{open}");
        let deeper = format!("[{deepest}]");
        let error = yaml::parse(&deeper).unwrap_err();
        assert!(error.message.contains("levels deep"), "{}", error.message);
        assert!(error.help.is_some());
        assert!(!deeper[error.span.range()].is_empty(), "{open}");
    }
}

#[test]
fn parse_node_limit_is_exact() {
    let list = |values: usize| format!("[{}]", "a,".repeat(values));
    assert_eq!(yaml::parse(&list(MAX_NODES - 1)).unwrap().items().len(), MAX_NODES - 1);
    let error = yaml::parse(&list(MAX_NODES)).unwrap_err();
    assert_eq!(error.message, "the file has more than 50000 keys and values");
}

#[test]
fn parse_size_limit_is_exact() {
    assert!(yaml::parse(&"a".repeat(MAX_BYTES)).is_ok());
    let (source, document) = yaml::read("x.yaml", &b"a".repeat(MAX_BYTES + 1));
    assert!(document.unwrap_err().message.contains("bytes"));
    assert_eq!(source.text(), "");
}

/// Asserts that the span of every node is in the text and in its parent.
fn assert_spans(root: &Node, source: &SourceFile) {
    let mut pending = vec![(root, 0..source.text().len())];
    while let Some((node, parent)) = pending.pop() {
        let span = node.span.range();
        assert!(parent.start <= span.start && span.end <= parent.end, "{span:?} in {parent:?}");
        assert!(source.text().get(span.clone()).is_some());
        let children = node.entries().iter().flat_map(|entry| [&entry.key, &entry.value]);
        // The target of an alias is elsewhere in the text.
        if !source.text()[span.clone()].starts_with('*') {
            pending.extend(children.chain(node.items()).map(|child| (child, span.clone())));
        }
    }
}

fn depth(node: &Node) -> usize {
    let below = node.entries().iter().map(|entry| &entry.value).chain(node.items());
    match node.text() {
        Some(_) => 0,
        None => 1 + below.map(depth).max().unwrap_or_default(),
    }
}
