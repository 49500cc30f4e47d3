//! The policy of the work tree and of the base.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::{Clone, GPU, HOTFIX, hotfix, plugin};

#[test]
fn check_base_uses_policy_of_base() {
    let clone = Clone::new();
    clone.write(GPU, &plugin("gpu", "v0.1.0", 9009));
    let without = clone.found(&["--base", "main"]);
    assert_eq!(without, [format!("plugin-version-not-increased {GPU}")]);
    for policy in ["rules: {plugin-version-not-increased: off}", "plugins: {directory: nowhere}"] {
        clone.write(".compass.yaml", &format!("version: 1\n{policy}\n"));
        let (code, text) = clone.printed(&["check", "--base", "main"]);
        assert_eq!(code, 1, "{text}");
        let key = policy.split_once(':').unwrap().0;
        assert!(text.contains(&format!("the change edits the policy: `{key}`")), "{text}");
        assert!(text.contains("(the changed policy would not report this)"), "{text}");
        // `--policy` has precedence over both.
        let (_, text) = clone.printed(&["check", "--base", "main", "--policy", ".compass.yaml"]);
        assert!(!text.contains("error[plugin-version-not-increased]"), "{text}");
    }
    // A stricter policy does not apply either before it is merged.
    clone.git(&["checkout", "-q", GPU]);
    clone.write(".compass.yaml", "version: 1\nhotfixes: {namespaces: [kube-system]}\n");
    clone.write(HOTFIX, &hotfix(""));
    let (_, text) = clone.printed(&["check", "--base", "main"]);
    assert!(text.contains("(only the changed policy reports this)"), "{text}");
}

#[test]
fn check_unreadable_base_policy_is_error() {
    let clone = Clone::new();
    clone.write(".compass.yaml", "version: 1\nunknown: 1\n");
    clone.commit();
    clone.git(&["branch", "-f", "main"]);
    clone.write(".compass.yaml", "version: 1\n");
    let (code, text) = clone.printed(&["check", "--base", "main"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("the policy of the base") && text.contains("--policy"), "{text}");
    let (code, text) = clone.printed(&["check", "--base", "main", "--policy", ".compass.yaml"]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn policy_special_file_is_error() {
    let clone = Clone::new();
    let policy = clone.root().join(".compass.yaml");
    let secret = clone.directory.path().join(".git/secret");
    fs::write(&secret, "token-4711\n").unwrap();
    symlink(&secret, &policy).unwrap();
    let (code, text) = clone.printed(&["check"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("symbolic link") && !text.contains("4711"), "{text}");
    fs::remove_file(&policy).unwrap();
    assert!(Command::new("mkfifo").arg(&policy).status().unwrap().success());
    let (code, text) = clone.printed(&["check"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("not a regular file"), "{text}");
}
