//! File names, encodings and variables that could mislead a check.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use super::{Clone, GPU, LOG, findings, plugin};

#[test]
fn check_path_not_utf8_is_finding() {
    let shown = "not-regular-file release-plugins/caf\u{fffd}.yaml";
    for is_in_git in [false, true] {
        let clone = Clone::new();
        let path = clone.root().join(OsStr::from_bytes(b"release-plugins/caf\xe9.yaml"));
        fs::write(&path, plugin("other", "v0.1.0", 9003)).unwrap();
        if !is_in_git {
            fs::remove_dir_all(clone.directory.path().join(".git")).unwrap();
            assert_eq!(clone.found(&[]), [shown]);
            continue;
        }
        let untracked = (clone.found(&[]), clone.found(&["--base", "main"]));
        assert_eq!(untracked.0, [shown]);
        clone.git(&["add", "-A"]);
        assert_eq!((clone.found(&[]), clone.found(&["--base", "main"])), untracked);
        clone.commit();
        assert_eq!((clone.found(&[]), clone.found(&["--base", "main"])), untracked);
        // The other one of two names that look the same remains.
        let other = clone.root().join(OsStr::from_bytes(b"release-plugins/caf\xe8.yaml"));
        fs::rename(&path, other).unwrap();
        assert_eq!(clone.found(&[]), [shown]);
        fs::remove_file(clone.root().join(OsStr::from_bytes(b"release-plugins/caf\xe8.yaml")))
            .unwrap();
        assert!(clone.found(&[]).is_empty());
    }
}

#[test]
fn check_encoding_of_same_size_is_decoded() {
    let clone = Clone::new();
    for encoding in ["IBM037", "UTF-16", "GBK"] {
        let attributes = clone.directory.path().join(".git/info/attributes");
        fs::create_dir_all(attributes.parent().unwrap()).unwrap();
        fs::write(attributes, format!("*.yaml text working-tree-encoding={encoding}\n")).unwrap();
        fs::remove_file(clone.root().join(LOG)).unwrap();
        clone.git(&["checkout", "--", "."]);
        assert!(clone.found(&[]).is_empty(), "{encoding}");
        assert!(clone.found(&["--base", "main"]).is_empty(), "{encoding}");
    }
}

#[test]
fn check_filter_without_driver_is_none() {
    let clone = Clone::new();
    clone.git(&["config", "filter.other.clean", "false"]);
    fs::create_dir_all(clone.directory.path().join(".git/info")).unwrap();
    let attributes = clone.directory.path().join(".git/info/attributes");
    fs::write(attributes, "* filter=x text eol=crlf\n").unwrap();
    clone.git(&["sparse-checkout", "set", "--no-cone", "/docs/", GPU]);
    assert!(!clone.root().join(LOG).exists());
    assert!(clone.found(&["--base", "main"]).is_empty());
}

#[test]
fn check_user_variables_keep_findings() {
    let clone = Clone::new();
    clone.bump_gpu();
    clone.write("docs/guide.md", "changed\n");
    let (program, mark) = clone.marking_program();
    clone.git(&["config", "filter.x.clean", &program]);
    fs::create_dir_all(clone.directory.path().join(".git/info")).unwrap();
    fs::write(clone.directory.path().join(".git/info/attributes"), "* filter=x\n").unwrap();
    clone.write(LOG, &plugin("log", "v0.1.0", 9002));
    let plain = clone.found(&["--base", "main"]);
    assert_eq!(plain, ["change-scope docs/guide.md"]);
    for (name, value) in [
        ("GIT_ATTR_SOURCE", "nowhere"),
        ("GIT_CONFIG", "/dev/null"),
        ("GIT_EXTERNAL_DIFF", &program),
        ("GIT_ICASE_PATHSPECS", "1"),
        ("GIT_PREFIX", "release-plugins/"),
    ] {
        let mut command = clone.compass(&["check", "--format", "json", "--base", "main"]);
        assert_eq!(findings(command.env(name, value)), plain, "{name}");
        assert!(!mark.exists(), "a program ran with {name}");
    }
    assert!(clone.root().join(GPU).exists());
}
