//! Files and repositories that git ignores.

use super::{Clone, findings};

#[test]
fn check_ignored_files_are_skipped() {
    let clone = Clone::new();
    clone.write(".gitignore", "*~\n.idea/\n");
    clone.commit();
    clone.git(&["branch", "-f", "main"]);
    clone.write("release-plugins/gpu.yaml~", "x");
    clone.write("release-plugins/.idea/x.yaml", "a: b\n");
    assert!(clone.found(&[]).is_empty());
    assert!(clone.found(&["--base", "main"]).is_empty());
    clone.write("release-plugins/gpu.txt", "x");
    let stray = vec!["file-misplaced release-plugins/gpu.txt".to_owned()];
    assert_eq!(clone.found(&[]), stray);
    assert_eq!(clone.found(&["--base", "main"]), stray);
}

#[test]
fn check_ignored_repository_is_plain_directory() {
    let clone = Clone::new();
    clone.write(".gitignore", "/work/\n");
    for directory in ["work", "work/deeper"] {
        clone.write(&format!("{directory}/release-plugins/gpu.txt"), "x");
        let mut command = clone.compass(&["check", "--format", "json"]);
        let found = findings(command.current_dir(clone.root().join(directory)));
        assert_eq!(found, ["file-misplaced release-plugins/gpu.txt"]);
    }
}
