//! Compares `compass check --base` with git.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::choices::Choices;
use crate::tree::TRIGGER;
use crate::world::{World, feed};

/// With this policy, only a change of the trigger is a release.
const POLICY: &str = "version: 1
plugins: {directory: released}
hotfixes: {directory: no-hotfixes}
products: {directory: no-products, addons: no-addons, overlays: no-overlays, image_lists: [], \
                      addon_lists: [], descriptors: [], chart_lists: []}
";

/// Counts of what the comparison covered.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) changed_paths: usize,
    pub(crate) without_release: usize,
    pub(crate) clean_clones: usize,
    pub(crate) committed_clones: usize,
    pub(crate) findings: usize,
}

/// The change according to git, as paths of the release repository.
struct Change {
    base: String,
    tracked: BTreeSet<Vec<u8>>,
    untracked: BTreeSet<Vec<u8>>,
}

/// Compares the change and the findings of `compass check --base` with those of git.
///
/// # Errors
/// If git and `compass` disagree.
pub(crate) fn compare(
    world: &World,
    choices: &mut Choices,
    summary: &mut Summary,
) -> Result<(), String> {
    let revision =
        choices.pick(&["main", "main", "main", "origin/main", "HEAD~1", "HEAD", "v2.7.0"]);
    let policy = world.directory.path().join("policy.yaml");
    fs::write(&policy, POLICY).unwrap();
    let policy = policy.display().to_string();
    let before = snapshot(world.directory.path());
    let narrow = check(world, &["--base", revision, "--policy", &policy])?;
    let usual = match check(world, &["--base", revision]) {
        // Git decodes the `working-tree-encoding` of unchanged files.
        Err(refusal) if refusal.contains(".compass.yaml:1:1: the file is UTF-16 text") => None,
        report => Some(report?),
    };
    let after = snapshot(world.directory.path());
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let is_written = |path: &&&PathBuf| match (before.get(**path), after.get(**path)) {
        (Some(before), Some(after)) => before != after && !is_renewed(path),
        _ => true,
    };
    let written: Vec<_> = paths.iter().filter(is_written).collect();
    if !written.is_empty() {
        return Err(format!("something was written: {written:?}"));
    }
    if fs::read_dir(world.temporary()).unwrap().next().is_some() {
        return Err("a temporary file was left".to_owned());
    }
    if let Ok(marks) = fs::read_to_string(world.marks()) {
        return Err(format!("a program was run: {marks}"));
    }
    let change = change(world, revision);
    if let Ok(marks) = fs::read_to_string(world.marks()) {
        return Err(format!("git itself ran a program: {marks}"));
    }
    compare_paths(&change, &narrow, summary)?;
    match usual {
        Some(usual) => {
            summary.findings += usual["findings"].as_array().map_or(0, Vec::len);
            compare_clone(world, &change, &usual, summary)
        }
        None if world.converts && !is_clean(world, &change) => Ok(()),
        None => Err("a policy that git decodes is refused".to_owned()),
    }
}

fn compare_paths(change: &Change, narrow: &Value, summary: &mut Summary) -> Result<(), String> {
    let all = change.tracked.union(&change.untracked);
    let mut expected: BTreeSet<String> =
        all.map(|path| String::from_utf8_lossy(path).into_owned()).collect();
    if !expected.remove(TRIGGER) {
        summary.without_release += 1;
        expected.clear();
    }
    summary.changed_paths += expected.len();
    let findings = narrow["findings"].as_array().unwrap().iter();
    let found: BTreeSet<String> = findings
        .filter(|finding| finding["code"] == "change-scope")
        .map(|finding| finding["file"].as_str().unwrap().to_owned())
        .collect();
    match found == expected {
        true => Ok(()),
        false => Err(format!(
            "only git: {:?}, only compass: {:?}",
            expected.difference(&found).collect::<Vec<_>>(),
            found.difference(&expected).collect::<Vec<_>>()
        )),
    }
}

/// Compares the findings with those in a clone without configuration, of `HEAD` or of a commit of all
/// files.
fn compare_clone(
    world: &World,
    change: &Change,
    usual: &Value,
    summary: &mut Summary,
) -> Result<(), String> {
    let commit = if is_clean(world, change) {
        summary.clean_clones += 1;
        "HEAD".to_owned()
    } else {
        let Some(commit) = commit_all(world) else { return Ok(()) };
        if !require_all_changes(world, change, &commit)? {
            return Ok(());
        }
        summary.committed_clones += 1;
        commit
    };
    let Some(clone) = clone(world, &commit) else { return Ok(()) };
    let mut command = world.compass(&["check", "--format", "json", "--base", &change.base]);
    let there = report(command.arg("--repo").arg(clone.join(world.prefix)))?;
    let (here, there) = (parts(usual), parts(&there));
    match here == there {
        true => Ok(()),
        false => Err(format!(
            "since {}, only here: {:#?}\nonly in a clone: {:#?}",
            change.base,
            here.difference(&there).collect::<Vec<_>>(),
            there.difference(&here).collect::<Vec<_>>()
        )),
    }
}

/// The report as text.
fn parts(report: &Value) -> BTreeSet<String> {
    let lists = ["findings", "allowed", "warnings"].map(|key| report[key].as_array().unwrap());
    let parts = lists.into_iter().flatten().chain([&report["counts"], &report["preexisting"]]);
    parts.map(ToString::to_string).collect()
}

fn is_clean(world: &World, change: &Change) -> bool {
    let compared = ["diff", "--quiet", "--ignore-submodules=dirty", "HEAD", "--"];
    change.untracked.is_empty() && world.try_git(&compared, &[]).status.success()
}

/// Commits the work tree, if git can commit exactly its state.
fn commit_all(world: &World) -> Option<String> {
    if !world.is_plain || !world.try_git(&["add", "--all"], &[]).status.success() {
        return None;
    }
    let text = |output: Vec<u8>| String::from_utf8(output).unwrap().trim().to_owned();
    let tree = text(world.run_git(&["write-tree"], b""));
    Some(text(world.run_git(&["commit-tree", "-p", "HEAD", "-m", "all", &tree], b"")))
}

/// Compares the change of the work tree with that between two commits. They differ for a file that was
/// only removed from the index.
fn require_all_changes(world: &World, change: &Change, commit: &str) -> Result<bool, String> {
    let compared = ["diff-tree", "-r", "--no-renames", "--name-only", "-z", &change.base, commit];
    let differing = world.run_git(&compared, b"");
    let differing = differing.split(|byte| *byte == 0).filter_map(|path| world.relative(path));
    let differing: BTreeSet<_> = differing.collect();
    let all: BTreeSet<_> = change.tracked.union(&change.untracked).cloned().collect();
    let missed: Vec<_> = differing.difference(&all).collect();
    let (removed, surplus): (Vec<_>, Vec<_>) =
        all.difference(&differing).partition(|path| change.untracked.contains(*path));
    match missed.is_empty() && surplus.is_empty() {
        true => Ok(removed.is_empty()),
        false => Err(format!("by commits, git misses {missed:?} and reports also {surplus:?}")),
    }
}

/// A clone with the same references; `None` if git regards a file of a fresh checkout as changed.
fn clone(world: &World, commit: &str) -> Option<PathBuf> {
    let commit = world.run_git(&["rev-parse", commit], b"");
    let references = world.run_git(&["for-each-ref", "--format=%(objectname) %(refname)"], b"");
    let clone = world.directory.path().join("clone");
    let git = clone.join(".git");
    fs::create_dir_all(git.join("objects/info")).unwrap();
    fs::create_dir_all(git.join("refs")).unwrap();
    let objects = world.common.join("objects").display().to_string();
    fs::write(git.join("objects/info/alternates"), objects).unwrap();
    fs::write(git.join("packed-refs"), references).unwrap();
    fs::write(git.join("HEAD"), commit).unwrap();
    let config = match world.history.sha256 {
        true => "[core]\n\trepositoryFormatVersion = 1\n[extensions]\n\tobjectFormat = sha256\n",
        false => "[core]\n\trepositoryFormatVersion = 0\n",
    };
    fs::write(git.join("config"), config).unwrap();
    let home = world.directory.path().join("nobody");
    feed(world.git(&["reset", "-q", "--hard"]).current_dir(&clone).env("HOME", &home), b"");
    fs::create_dir_all(clone.join(world.prefix)).unwrap();
    let mut compared = world.git(&["diff", "--quiet", "HEAD", "--"]);
    let compared = compared.current_dir(&clone).env("HOME", home).status().unwrap();
    compared.success().then_some(clone)
}

/// Runs `compass check` twice; asserts that both outputs are the same.
fn check(world: &World, arguments: &[&str]) -> Result<Value, String> {
    let run = || {
        let mut command = world.compass(&["check", "--format", "json"]);
        command.args(arguments).envs(world.environment.iter().cloned());
        let root = [world.directory.path().join("link"), world.root()];
        let root = root.iter().find(|root| root.exists()).unwrap();
        match world.is_explicit {
            true => command.arg("--repo").arg(root),
            false => command.current_dir(root),
        };
        report(&mut command)
    };
    let first = run()?;
    match run()? == first {
        true => Ok(first),
        false => Err("the second run has another output".to_owned()),
    }
}

fn report(command: &mut Command) -> Result<Value, String> {
    let output = command.output().unwrap();
    let text = || {
        let bytes = [&*output.stdout, &output.stderr].concat();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    match output.status.code() {
        Some(0 | 1) => serde_json::from_slice(&output.stdout).map_err(|error| error.to_string()),
        _ => Err(format!("{}: {}", output.status, text())),
    }
}

fn change(world: &World, revision: &str) -> Change {
    let base = world.run_git(&["merge-base", "HEAD", revision], b"");
    let base = String::from_utf8(base).unwrap().trim().to_owned();
    let compared =
        ["diff", "--name-status", "--no-renames", "-z", "--no-ext-diff", "--no-relative"];
    let compared = [&compared[..], &["--ignore-submodules=dirty", &base, "--"]].concat();
    let tracked = world.run_git(&compared, b"");
    let fields: Vec<&[u8]> = tracked.split(|byte| *byte == 0).collect();
    let tracked = fields.chunks_exact(2).map(|status_and_path| status_and_path[1]);
    let others = world.run_git(&["ls-files", "-z", "--others", "--exclude-standard"], b"");
    let others = others.split(|byte| *byte == 0);
    Change {
        base,
        tracked: tracked.filter_map(|path| world.relative(path)).collect(),
        untracked: others.filter_map(|path| world.relative(path)).collect(),
    }
}

/// Whether git may update the time of a file when it reads an index: shared index files and the objects
/// of a sparse index would expire otherwise.
fn is_renewed(path: &Path) -> bool {
    let path = path.to_string_lossy();
    path.contains("/sharedindex.") || path.contains("/.git/objects/")
}

/// The state of every file, by path.
fn snapshot(directory: &Path) -> BTreeMap<PathBuf, (u32, u64, u64, i64, i64)> {
    let mut files = BTreeMap::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        if path.ends_with("temporary") {
            continue;
        }
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let time = (metadata.ctime(), metadata.ctime_nsec());
        let state = (metadata.mode(), metadata.len(), metadata.ino(), time.0, time.1);
        files.insert(path, state);
    }
    files
}
