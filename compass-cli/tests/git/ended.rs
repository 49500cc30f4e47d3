//! A git that a signal ends: its output is incomplete.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Clone;

/// A `git` in front of the real one on `PATH`.
struct GitInFront {
    directory: TempDir,
    path: String,
}

impl GitInFront {
    /// Creates a git that runs `script`, in which `real` runs git with the same arguments.
    fn new(script: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let found = Command::new("sh").args(["-c", "command -v git"]).output().unwrap();
        let real = String::from_utf8(found.stdout).unwrap();
        let text = format!(
            "#!/bin/sh\nreal() {{ {} \"$@\"; }}\nstate={}\n{script}\n",
            real.trim(),
            directory.path().display()
        );
        let program = directory.path().join("git");
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
        Self { directory, path }
    }

    /// Creates a git whose call number `call` is ended by `signal` before its output.
    fn ending(call: usize, signal: &str) -> Self {
        Self::new(&format!(
            "echo >> $state/calls\n\
             [ $(wc -l < $state/calls) -eq {call} ] && kill -{signal} $$\nreal \"$@\""
        ))
    }

    fn calls(&self) -> usize {
        fs::read_to_string(self.directory.path().join("calls")).unwrap_or_default().lines().count()
    }

    fn run(&self, clone: &Clone, arguments: &[&str]) -> Output {
        clone.compass(arguments).env("PATH", &self.path).output().unwrap()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn git_ended_at_any_call_fails_command() {
    let clone = Clone::new();
    clone.bump_gpu();
    clone.git(&["config", "filter.x.clean", "false"]);
    let dry_run =
        ["package", "plugin", "log", "--from", "127.0.0.1:1", "--retry-connect", "0", "--dry-run"];
    for arguments in [&["check", "--base", "main"][..], &["images", "plugin", "gpu"], &dry_run] {
        let complete = GitInFront::new("echo >> $state/calls\nreal \"$@\"");
        complete.run(&clone, arguments);
        assert!(complete.calls() > 3, "{arguments:?}");
        for call in 1..=complete.calls() {
            for (signal, exit, message) in
                [("KILL", 3, "git was ended by"), ("INT", 130, "interrupted")]
            {
                let output = GitInFront::ending(call, signal).run(&clone, arguments);
                let context = format!("{arguments:?}, call {call}, {signal}: {}", stderr(&output));
                assert_eq!(output.status.code(), Some(exit), "{context}");
                assert!(stderr(&output).contains(message), "{context}");
            }
        }
    }
}

#[test]
fn cat_file_truncated_at_any_byte_fails() {
    let clone = Clone::new();
    clone.bump_gpu();
    for (end, message) in [("kill -KILL $$", "git was ended by"), ("exit 0", "cannot read objects")]
    {
        // The header of an object has 51 bytes.
        for length in [52, 60, 100, 200] {
            let git = GitInFront::new(&format!(
                "case \"$*\" in *'cat-file --batch '*) real \"$@\" | head -c {length}; {end};; esac\n\
                 real \"$@\""
            ));
            let output = git.run(&clone, &["check", "--base", "main"]);
            assert!(!output.status.success(), "{length} bytes");
            assert!(stderr(&output).contains(message), "{length} bytes: {}", stderr(&output));
        }
    }
}

#[test]
fn signal_while_git_runs_interrupts_command() {
    let clone = Clone::new();
    let git =
        GitInFront::new("case \"$*\" in *ls-tree*) : > $state/began; sleep 1;; esac\nreal \"$@\"");
    let mut command =
        clone.compass(&["package", "plugin", "gpu", "--from", "127.0.0.1:1", "--dry-run"]);
    let began = Instant::now();
    let mut child = command.env("PATH", &git.path).spawn().unwrap();
    while !git.directory.path().join("began").exists() {
        assert!(began.elapsed() < Duration::from_mins(1), "git was not run");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
}
