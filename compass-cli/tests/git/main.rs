//! Git work trees with any configuration, attributes and layout: `compass` agrees with git, and runs no
//! program that they name.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ended;
mod ignored;
mod index;
mod names;
mod policy;
mod products;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

const GPU: &str = "release-plugins/gpu.yaml";
const LOG: &str = "release-plugins/log.yaml";
const HOTFIX: &str =
    "release-hotfixes/v2.7.0/web-v2.7.0-20180605-p1/default/console/web/values.yaml";

/// A clone with the base on `main`, and `topic` checked out.
struct Clone {
    directory: TempDir,
    /// The path of the release repository.
    below: &'static str,
}

impl Clone {
    fn new() -> Self {
        Self::below("")
    }

    fn below(below: &'static str) -> Self {
        let clone = Self { directory: TempDir::new().unwrap(), below };
        clone.git(&["init", "-q", "-b", "main"]);
        clone.write(GPU, &plugin("gpu", "v0.1.0", 9001));
        clone.write(LOG, &plugin("log", "v0.1.0", 9002));
        clone.write("docs/guide.md", "guide $Id$\n");
        clone.commit();
        clone.git(&["checkout", "-q", "-b", "topic"]);
        clone
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join(self.below)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn git(&self, arguments: &[&str]) -> String {
        git(self.directory.path(), arguments)
    }

    fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "change"]);
    }

    fn bump_gpu(&self) {
        self.write(GPU, &plugin("gpu", "v0.1.1", 9001));
    }

    fn compass(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_compass"));
        command.current_dir(self.root()).args(arguments);
        command
    }

    /// The new findings of a check, as `CODE FILE`.
    fn found(&self, more: &[&str]) -> Vec<String> {
        findings(&mut self.compass(&[&["check", "--format", "json"], more].concat()))
    }

    /// Runs `compass`; returns the exit code, and stdout and stderr together.
    fn printed(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.compass(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Writes a program that creates a marker file; returns its path and that of the marker.
    fn marking_program(&self) -> (String, PathBuf) {
        let (program, mark) =
            (self.directory.path().join(".git/x"), self.directory.path().join(".git/ran"));
        fs::write(&program, format!("#!/bin/sh\ntouch {}\ncat\n", mark.display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        (program.display().to_string(), mark)
    }
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"];
    let local = ["-c", "protocol.file.allow=always", "-c", "commit.gpgsign=false"];
    let mut command = Command::new("git");
    command.arg("-C").arg(directory).args(identity).args(local).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn findings(command: &mut Command) -> Vec<String> {
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let Some(findings) = report["findings"].as_array() else { panic!("{report:#}") };
    let new = findings.iter().filter(|finding| finding["preexisting"] == false);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    new.map(|one| format!("{} {}", text(&one["code"]), text(&one["file"]))).collect()
}

fn plugin(name: &str, version: &str, port: u16) -> String {
    format!(
        "metadata: {{name: {name}}}\nspec:\n  class: {name}\n  version: {version}\n  description: \
         a plugin\n  service:\n    port: {port}\n    image: \
         harbor.caicloud.xyz/release/compass-plugins-{name}:{version}\n  modules:\n  - name: \
         {name}\n    slots: [s.{name}]\n"
    )
}

fn hotfix(class: &str) -> String {
    let version = "v2.7.0-20180605-p1";
    format!(
        "_config:\n  _metadata: {{name: web, version: {version}{class}}}\n  controllers:\n  - type: \
         Deployment\n    containers:\n    - image: '[[ registry_release ]]/web:{version}'\n"
    )
}

#[test]
fn check_user_settings_keep_findings() {
    let clone = Clone::new();
    clone.bump_gpu();
    clone.write(HOTFIX, &hotfix(", class: Other"));
    clone.git(&["tag", "v2.7.0", "main"]);
    let plain = (clone.found(&[]), clone.found(&["--base", "main"]));
    assert!(plain.1.iter().any(|one| one.starts_with("change-scope")), "{plain:?}");
    // Git compares the content if only the time of the file differs.
    clone.write(LOG, &plugin("log", "v0.1.0", 9002));
    for (key, value) in [
        ("column.ui", "always"),
        ("color.ui", "always"),
        ("color.diff", "always"),
        ("core.quotePath", "true"),
        ("core.pager", "false"),
        ("diff.autoRefreshIndex", "false"),
        ("diff.external", "false"),
        ("diff.ignoreSubmodules", "all"),
        ("diff.noprefix", "true"),
        ("diff.orderFile", "/nonexistent"),
        ("diff.relative", "true"),
        ("diff.renames", "copies"),
        ("diff.statGraphWidth", "1"),
        ("log.showSignature", "true"),
        ("log.decorate", "full"),
        ("status.short", "true"),
        ("status.showUntrackedFiles", "no"),
        ("tag.sort", "-refname"),
        ("grep.lineNumber", "true"),
    ] {
        clone.git(&["config", key, value]);
        let set = (clone.found(&[]), clone.found(&["--base", "main"]));
        assert_eq!(set, plain, "{key}={value}");
    }
}

#[test]
fn check_base_converted_checkout_is_unchanged() {
    let clone = Clone::new();
    for (setting, attributes) in [
        (["core.autocrlf", "true"], ""),
        (["core.eol", "crlf"], "* text\n"),
        (["core.eol", "lf"], "*.yaml text eol=crlf\n*.md ident\n"),
        (["core.eol", "lf"], "*.yaml text working-tree-encoding=UTF-16\n"),
    ] {
        clone.git(&[&["config"], &setting[..]].concat());
        fs::write(clone.directory.path().join(".git/info/attributes"), attributes).unwrap();
        clone.git(&["rm", "-q", "--cached", "-r", "."]);
        clone.git(&["reset", "-q", "--hard"]);
        assert!(clone.found(&[]).is_empty(), "{attributes}");
        assert!(clone.found(&["--base", "main"]).is_empty(), "{attributes}");
        let text = fs::read(clone.root().join(LOG)).unwrap();
        assert!(text.windows(2).any(|two| two == b"\r\n" || two[0] == 0), "{attributes}");
        // Git compares the contents of files whose time changed.
        fs::write(clone.root().join(LOG), text).unwrap();
        assert!(clone.found(&["--base", "main"]).is_empty(), "{attributes}");
    }
}

#[test]
fn check_sparse_checkout_reads_all_files() {
    let clone = Clone::new();
    clone.write(LOG, &plugin("log", "v0.1.0", 9001));
    clone.commit();
    let whole = (clone.found(&[]), clone.found(&["--base", "main"]));
    assert!(!whole.0.is_empty());
    clone.git(&["sparse-checkout", "set", "--no-cone", "/release-plugins/gpu.yaml"]);
    assert!(!clone.root().join(LOG).exists());
    assert_eq!((clone.found(&[]), clone.found(&["--base", "main"])), whole);
    // Git does not compare files that are marked as unchanged.
    clone.git(&["sparse-checkout", "disable"]);
    clone.git(&["update-index", "--assume-unchanged", LOG]);
    clone.write(LOG, "not a manifest\n");
    assert_eq!((clone.found(&[]), clone.found(&["--base", "main"])), whole);
}

#[test]
fn check_linked_worktree_has_same_findings() {
    let clone = Clone::new();
    clone.write(LOG, &plugin("log", "v0.0.9", 9002));
    clone.commit();
    let other = TempDir::new().unwrap();
    let path = other.path().join("linked");
    clone.git(&["worktree", "add", "-q", "--detach", path.to_str().unwrap(), "topic"]);
    let mut command = clone.compass(&["check", "--base", "main", "--format", "json"]);
    assert_eq!(findings(command.current_dir(&path)), clone.found(&["--base", "main"]));
}

#[test]
fn check_partial_clone_reads_present_objects() {
    let clone = Clone::new();
    clone.write(LOG, &plugin("log", "v0.1.1", 9002));
    clone.write("docs/large.md", "more\n");
    clone.commit();
    clone.git(&["config", "uploadpack.allowFilter", "true"]);
    let other = TempDir::new().unwrap();
    let url = format!("file://{}", clone.directory.path().display());
    git(other.path(), &["clone", "-q", "--filter=blob:none", "--branch", "topic", &url, "p"]);
    let path = other.path().join("p");
    let check = |directory: &Path| {
        let mut command = clone.compass(&["check", "--base", "origin/main"]);
        let output = command.current_dir(directory).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, text) = check(&path);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("partial clone"), "{text}");
    // The command of the hint works.
    assert!(text.contains("`git fetch --refetch --no-filter origin`"), "{text}");
    git(&path, &["fetch", "-q", "--refetch", "--no-filter", "origin"]);
    let (code, text) = check(&path);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("change-scope"), "{text}");
}

#[test]
fn check_base_submodule_change_is_named() {
    let clone = Clone::new();
    let (program, mark) = clone.marking_program();
    let inner = TempDir::new().unwrap();
    git(inner.path(), &["init", "-q"]);
    git(inner.path(), &["commit", "-q", "--allow-empty", "-m", "1"]);
    clone.git(&["checkout", "-q", "main"]);
    clone.git(&["submodule", "add", "-q", inner.path().to_str().unwrap(), "tools"]);
    clone.git(&["config", "-f", ".gitmodules", "submodule.tools.ignore", "all"]);
    clone.commit();
    clone.git(&["checkout", "-q", "-B", "topic"]);
    let tools = clone.root().join("tools");
    git(&tools, &["config", "core.fsmonitor", &program]);
    git(&tools, &["commit", "-q", "--allow-empty", "-m", "2"]);
    let _ = fs::remove_file(&mark);
    clone.bump_gpu();
    assert_eq!(clone.found(&["--base", "main"]), ["change-scope tools"]);
    // Uncommitted files in the submodule are not a change of this repository.
    git(&tools, &["reset", "-q", "--hard", "HEAD~1"]);
    let _ = fs::remove_file(&mark);
    fs::write(tools.join("x.yaml"), "a: b\n").unwrap();
    assert!(clone.found(&["--base", "main"]).is_empty());
    assert!(!mark.exists(), "git looked into the submodule");
}

#[test]
fn check_base_mode_is_a_change() {
    let clone = Clone::new();
    clone.bump_gpu();
    let path = clone.root().join("docs/guide.md");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(clone.found(&["--base", "main"]), ["change-scope docs/guide.md"]);
}

#[test]
fn check_runs_no_program_of_repository() {
    let clone = Clone::below("release");
    let (program, mark) = clone.marking_program();
    // A pull request can commit a directory that looks like a bare repository, with a configuration.
    git(&clone.root(), &["init", "-q", "--bare", "seed"]);
    for part in ["objects", "refs", "HEAD"] {
        fs::rename(clone.root().join("seed").join(part), clone.root().join(part)).unwrap();
    }
    fs::remove_dir_all(clone.root().join("seed")).unwrap();
    let config = format!("[core]\n\tbare = false\n\tworktree = .\n\tfsmonitor = {program}\n");
    clone.write("config", &config);
    for arguments in [&["check"][..], &["check", "--base", "main"], &["images", "--all"]] {
        clone.printed(arguments);
        assert!(!mark.exists(), "{arguments:?} ran a program");
    }
    for (key, value) in [
        ("core.fsmonitor", program.as_str()),
        ("filter.x.clean", &program),
        ("filter.x.process", &program),
        ("gpg.program", &program),
        ("diff.external", &program),
        ("diff.x.textconv", &program),
        ("diff.x.command", &program),
        ("core.hooksPath", ".git/hooks2"),
        ("core.sshCommand", &program),
    ] {
        clone.git(&["config", key, value]);
    }
    fs::write(clone.directory.path().join(".git/info/attributes"), "* filter=x diff=x\n").unwrap();
    let _ = fs::remove_file(&mark);
    clone.write(LOG, &plugin("log", "v0.1.0", 9002));
    for arguments in [&["check"][..], &["check", "--base", "main"]] {
        clone.printed(arguments);
        assert!(!mark.exists(), "{arguments:?} ran a program");
    }
}

#[test]
fn check_without_git_program_is_error() {
    let clone = Clone::new();
    let output = clone.compass(&["check"]).env("PATH", "/nonexistent").output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("cannot run git"), "{message}");
}

#[test]
fn check_broken_git_directory_is_error() {
    for (part, content, fragment) in [
        ("HEAD", None, "not a git repository"),
        ("HEAD", Some("garbage"), "not a git repository"),
        (
            "HEAD",
            Some("0000000000000000000000000000000000000001"),
            "does not contain the object 0000",
        ),
        ("config", Some("[[["), "bad config"),
        ("index", Some("x"), "index"),
    ] {
        let clone = Clone::new();
        let path = clone.directory.path().join(".git").join(part);
        match content {
            Some(content) => fs::write(path, content).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        let output = clone.compass(&["check"]).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{part} {content:?}: {message}");
        assert!(message.contains(fragment) && message.contains("help: "), "{part}: {message}");
    }
}

#[test]
fn check_repo_option_ignores_git_dir() {
    let clone = Clone::new();
    clone.write(LOG, &plugin("log", "v0.0.9", 9002));
    let expected = clone.found(&["--base", "main"]);
    assert_eq!(expected, [format!("plugin-version-not-increased {LOG}")]);
    let other = TempDir::new().unwrap();
    git(other.path(), &["init", "-q"]);
    let root = clone.root().display().to_string();
    let arguments = ["check", "--format", "json", "--base", "main", "--repo", &root];
    let mut command = clone.compass(&arguments);
    assert_eq!(findings(command.env("GIT_DIR", other.path().join(".git"))), expected);
    // In a hook of the repository itself, the variable applies.
    let mut command = clone.compass(&arguments[..5]);
    assert_eq!(findings(command.env("GIT_DIR", ".git")), expected);
    let mut command = clone.compass(&arguments[..5]);
    command.current_dir(clone.root().join("release-plugins")).env("GIT_DIR", "../.git");
    assert_eq!(findings(command.env("GIT_WORK_TREE", "..")), expected);
}

#[test]
fn check_annotations_use_git_root_paths() {
    let clone = Clone::below("deploy/release");
    clone.write("release-plugins/stray.txt", "");
    let (_, text) = clone.printed(&["check", "--format", "github"]);
    assert!(text.contains("file=deploy/release/release-plugins/stray.txt,"), "{text}");
    let (_, text) = clone.printed(&["check", "--format", "sarif"]);
    assert!(text.contains("\"uri\": \"deploy/release/release-plugins/stray.txt\""), "{text}");
    assert_eq!(clone.found(&[]), ["file-misplaced release-plugins/stray.txt"]);
}
