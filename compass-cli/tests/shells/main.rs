//! Completions in shells, manual pages in `man`, and help texts on a small terminal.
//!
//! If a shell or `man` is missing, its test is skipped, unless `COMPASS_INTEROP=required` is set, as in CI.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../machine/mod.rs"]
mod machine;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use machine::has;

const COMPASS: &str = env!("CARGO_BIN_EXE_compass");

fn compass(arguments: &[&str]) -> Output {
    Command::new(COMPASS).args(arguments).env("COLUMNS", "80").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn stdout(arguments: &[&str]) -> String {
    let output = compass(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs a script of a shell, in a directory with the completions.
fn shell(program: &str, options: &[&str], script: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("_compass"), stdout(&["completions", program])).unwrap();
    let output = Command::new(program)
        .args(options)
        .args(["-c", script])
        .current_dir(directory.path())
        .env("HOME", directory.path())
        .env("XDG_CONFIG_HOME", directory.path())
        .env("XDG_DATA_HOME", directory.path())
        .output()
        .unwrap();
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && errors.is_empty(), "{script}\n{out}\n{errors}");
    out
}

/// The commands, with the commands below them.
fn commands() -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut next = 0;
    while next < all.len() {
        let command: Vec<String> = all[next].clone();
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("-h");
        let help = stdout(&arguments);
        let listed = help.split("Commands:\n").nth(1).unwrap_or_default();
        let names = listed.lines().take_while(|line| !line.is_empty());
        let names = names.filter_map(|line| {
            let name = line.strip_prefix("  ")?.split(' ').next()?;
            (!name.is_empty() && name != "help").then(|| name.to_owned())
        });
        all.extend(names.map(|name| [command.clone(), vec![name]].concat()));
        next += 1;
    }
    all
}

#[test]
fn help_fits_small_terminal() {
    let found = commands();
    assert!(found.len() > 20, "{found:?}");
    let mut helps = vec![("compass --help".to_owned(), stdout(&["--help"]))];
    for command in found {
        let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["-h"]).collect();
        helps.push((arguments.join(" "), stdout(&arguments)));
    }
    let mut wide_or_long = Vec::new();
    for (name, help) in helps {
        let (lines, columns) =
            (help.lines().count(), help.lines().map(|line| line.chars().count()).max());
        if lines > 40 || columns > Some(80) {
            wide_or_long.push(format!("{name}: {lines} lines, {columns:?} columns"));
        }
    }
    assert!(wide_or_long.is_empty(), "{wide_or_long:#?}");
}

#[test]
fn help_after_first_argument_is_shown() {
    for command in commands() {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = stdout(&arguments);
        if help.contains("\nArguments:\n") {
            let value = if help.contains("<SHELL>") { "bash" } else { "localhost:5000" };
            arguments.insert(command.len(), value);
            assert_eq!(stdout(&arguments), help);
        }
    }
}

#[test]
fn help_wraps_at_columns() {
    for command in ["queue", "review", "bot", "pr", "serve"] {
        let mut compass = Command::new(COMPASS);
        let output = compass.args([command, "-h"]).env("COLUMNS", "60").output().unwrap();
        let help = text(&output.stdout);
        let widest = help.lines().max_by_key(|line| line.chars().count()).unwrap();
        assert!(widest.chars().count() <= 60, "{command}: {widest}");
        assert!(!help.contains('\u{1b}'), "{command} has colors without a terminal");
    }
}

#[test]
fn usage_error_has_chosen_color() {
    for (color, is_colored) in [("always", true), ("never", false), ("auto", false)] {
        for arguments in [["--color", color, "chekc"], ["package", "--color", color]] {
            let error = text(&compass(&arguments).stderr);
            assert_eq!(error.contains('\u{1b}'), is_colored, "{arguments:?}: {error}");
        }
    }
}

#[test]
fn usage_error_in_json_has_message_and_hint() {
    let error = compass(&["chekc", "--format", "json"]).stdout;
    let error: Value = serde_json::from_slice(&error).unwrap();
    assert_eq!(error["error"]["message"], "unrecognized subcommand 'chekc'");
    assert_eq!(error["error"]["hint"], "a similar subcommand exists: 'check'");
}

#[test]
fn completions_load_in_bash() {
    if has("bash", &["--version"]) {
        let script = "source ./_compass; COMP_WORDS=(compass ver) COMP_CWORD=1; _compass compass ver; \
                      printf '%s\n' \"${COMPREPLY[@]}\"";
        assert_eq!(shell("bash", &["--norc"], script), "verify\nversion\n");
    }
}

#[test]
fn completions_load_in_zsh() {
    if has("zsh", &["--version"]) {
        let script = "fpath=($PWD $fpath); autoload -U compinit; compinit -u -D; \
                      print ${_comps[compass]}; autoload +X _compass; \
                      functions _compass | grep -q verify && print loaded";
        assert_eq!(shell("zsh", &["-f"], script), "_compass\nloaded\n");
    }
}

#[test]
fn completions_load_in_fish() {
    if has("fish", &["--version"]) {
        let found = shell("fish", &["--no-config"], "source ./_compass; complete -C 'compass ver'");
        let names: Vec<&str> = found.lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(names, ["verify", "version"]);
    }
}

#[test]
fn completions_json_has_script() {
    let printed: Value =
        serde_json::from_str(&stdout(&["completions", "bash", "--format", "json"])).unwrap();
    assert_eq!(printed["script"], stdout(&["completions", "bash"]));
}

#[test]
fn man_page_of_every_command_is_written() {
    let directory = tempfile::tempdir().unwrap();
    stdout(&["man", "-o", directory.path().to_str().unwrap()]);
    for command in commands() {
        let name = [vec!["compass".to_owned()], command].concat().join("-");
        assert!(directory.path().join(format!("{name}.1")).is_file(), "{name}");
    }
    let page = fs::read_to_string(directory.path().join("compass-store-ls.1")).unwrap();
    assert_eq!(page, stdout(&["man", "store", "ls"]));
    assert_eq!(fs::read_to_string(directory.path().join("compass.1")).unwrap(), stdout(&["man"]));
}

#[test]
fn man_pages_describe_every_option() {
    let directory = tempfile::tempdir().unwrap();
    stdout(&["man", "-o", directory.path().to_str().unwrap()]);
    for entry in fs::read_dir(directory.path()).unwrap() {
        let page = fs::read_to_string(entry.unwrap().path()).unwrap();
        let lines: Vec<&str> = page.lines().collect();
        for option in lines.windows(2).filter(|pair| pair[0].starts_with(r"\fB\-\-")) {
            assert!(!option[1].starts_with('.'), "{option:?}");
        }
    }
}

#[test]
fn man_pages_render_without_warnings() {
    if !has("man", &["--version"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    stdout(&["man", "-o", directory.path().to_str().unwrap()]);
    for entry in fs::read_dir(directory.path()).unwrap() {
        let (shown, warnings) = render(&entry.unwrap().path());
        assert!(warnings.is_empty(), "{warnings}");
        assert!(shown.contains("SYNOPSIS"), "{shown}");
    }
}

/// Renders a page; returns the text and the warnings.
fn render(page: &Path) -> (String, String) {
    let mut man = Command::new("man");
    man.args(["--warnings", "-E", "UTF-8", "-l"]).arg(page);
    let output = man.env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8").output().unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn man_unknown_command_is_suggested() {
    let output = compass(&["man", "store", "lss"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("did you mean `ls`?"), "{}", text(&output.stderr));
}
