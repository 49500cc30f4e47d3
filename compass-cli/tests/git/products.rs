//! Warnings about hotfixes that cannot be compared with their product version.

use std::fs;

use super::{Clone, HOTFIX, hotfix};

#[test]
fn missing_product_tag_warns_in_formats() {
    let clone = Clone::new();
    clone.write(HOTFIX, &hotfix(""));
    let warning = "there is no tag of v2.7.0";
    for (format, shown) in [
        ("human", format!("warning: {warning}")),
        ("json", format!("\"warnings\": [\n    \"{warning}")),
        ("github", format!("::warning::{warning}")),
        ("sarif", format!("\"text\": \"{warning}")),
    ] {
        let (_, text) = clone.printed(&["check", "--format", format]);
        assert!(text.contains(&shown), "{format}: {text}");
    }
}

#[test]
fn hotfix_without_git_warns() {
    let clone = Clone::new();
    let warning = "there is no git repository, so hotfixes are not compared";
    fs::remove_dir_all(clone.directory.path().join(".git")).unwrap();
    assert!(!clone.printed(&["check"]).1.contains(warning));
    clone.write(HOTFIX, &hotfix(""));
    for format in ["human", "json", "github", "sarif"] {
        let (_, text) = clone.printed(&["check", "--format", format]);
        assert!(text.contains(warning), "{format}: {text}");
    }
}

#[test]
fn missing_product_tag_hint_is_fetch() {
    let clone = Clone::new();
    clone.write(HOTFIX, &hotfix(""));
    for (remote, command) in [
        (None, None),
        (Some("upstream"), Some("fetch upstream tag v2.7.0` may help")),
        (Some("fork"), None),
        (Some("origin"), Some("fetch origin tag v2.7.0` may help")),
    ] {
        if let Some(remote) = remote {
            clone.git(&["remote", "add", remote, "/nonexistent"]);
        }
        let (_, text) = clone.printed(&["check"]);
        assert_eq!(text.contains("fetch"), command.is_some(), "{remote:?}: {text}");
        assert!(command.is_none_or(|command| text.contains(command)), "{remote:?}: {text}");
    }
}
