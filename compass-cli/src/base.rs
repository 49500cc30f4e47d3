//! A release repository as git has it at a revision.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use compass_manifest::Tree;
use compass_manifest::version::ProductVersion;

use crate::failure::Failure;
use crate::repository::{READ_LIMIT, is_read};

/// Files that are only compared carry this mark where they did not change.
const UNCHANGED: &str = "unchanged";

/// The repository at its base, and what of the working tree counts for the change.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) tree: Tree,
    pub(crate) head: Tree,
}

/// Reads the state that a change began from: where the history of `revision` and the present one
/// part, or `revision` itself where the clone is too shallow to know.
pub(crate) fn read(root: &Path, revision: &str, head: &Tree) -> Result<Base, Failure> {
    let commit = resolve(root, revision)?;
    let merge_base = git(root, &["merge-base", "HEAD", &commit])?;
    let commit = match merge_base.status.success() {
        true => text(&merge_base),
        false => commit,
    };
    Ok(Base { tree: tree_at(root, &commit, |_| true)?, head: present(root, &commit, head)? })
}

/// The repository at a product version's tag, as far as a filter wants it; `None` where there is
/// no such tag, or no git.
pub(crate) fn product(
    root: &Path,
    version: &ProductVersion,
    wanted: impl Fn(&str) -> bool,
) -> Result<Option<Tree>, Failure> {
    if !is_versioned(root) {
        return Ok(None);
    }
    let tags = text(&git(root, &["tag", "--list"])?);
    let same = |tag: &&str| {
        tag.parse::<ProductVersion>().is_ok_and(|tagged| tagged.is_same_release(version))
    };
    // Where a release has several tags, the one that is spelt as it was asked for.
    let tag = tags.lines().filter(same).max_by_key(|tag| *tag == version.as_str());
    tag.map(|tag| tree_at(root, &format!("refs/tags/{tag}^{{commit}}"), wanted)).transpose()
}

/// Whether a directory is in a git working tree.
pub(crate) fn is_versioned(root: &Path) -> bool {
    git(root, &["rev-parse", "--is-inside-work-tree"]).is_ok_and(|output| output.status.success())
}

fn resolve(root: &Path, revision: &str) -> Result<String, Failure> {
    if !is_versioned(root) {
        let message = format!("{} is not in a git repository", root.display());
        return Err(Failure::usage(message).hint("`--base` compares with a git revision"));
    }
    let name = format!("{revision}^{{commit}}");
    let output = git(root, &["rev-parse", "--verify", "--quiet", "--end-of-options", &name])?;
    if output.status.success() {
        return Ok(text(&output));
    }
    let shallow = git(root, &["rev-parse", "--is-shallow-repository"])?.stdout.starts_with(b"true");
    let branch = revision.strip_prefix("origin/").unwrap_or(revision);
    let hint = match shallow {
        true => format!(
            "this clone is shallow: `git fetch --depth=1 origin {branch}`, then `--base FETCH_HEAD`"
        ),
        false => format!("fetch it: `git fetch origin {branch}`"),
    };
    Err(Failure::usage(format!("there is no revision `{revision}` here")).hint(hint))
}

/// The working tree without what git ignores; files that no rule reads say whether they changed.
fn present(root: &Path, commit: &str, head: &Tree) -> Result<Tree, Failure> {
    let known = paths(root, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
    let differing = ["diff", "--name-only", "-z", "--relative", "--no-ext-diff", "--no-textconv"];
    let changed = paths(root, &[&differing[..], &[commit, "--"]].concat())?;
    let others = paths(root, &["ls-files", "-z", "--others", "--exclude-standard"])?;
    let mut tree = Tree::new();
    for path in head.paths().filter(|path| known.contains(*path)) {
        match head.get(path) {
            Some(bytes) => tree.insert(path, bytes),
            None if changed.contains(path) || others.contains(path) => {
                tree.insert_unread(path, "changed");
            }
            None => tree.insert_unread(path, UNCHANGED),
        }
    }
    Ok(tree)
}

fn tree_at(root: &Path, commit: &str, wanted: impl Fn(&str) -> bool) -> Result<Tree, Failure> {
    let listing = succeeded(git(root, &["ls-tree", "-r", "-z", commit])?)?;
    let mut tree = Tree::new();
    let mut objects = BTreeMap::new();
    for entry in listing.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        let entry = String::from_utf8_lossy(entry);
        let Some((about, path)) = entry.split_once('\t') else { continue };
        let words: Vec<&str> = about.split(' ').collect();
        let [mode, "blob", object] = words[..] else { continue };
        // Links are not followed, here as in the working tree.
        if is_read(path) && mode != "120000" && wanted(path) {
            objects.insert(path.to_owned(), object.to_owned());
        } else {
            tree.insert_unread(path, UNCHANGED);
        }
    }
    for (path, bytes) in objects.keys().zip(blobs(root, objects.values())?) {
        tree.insert(path.as_str(), bytes);
    }
    Ok(tree)
}

/// The contents of blobs, in order, from one `git cat-file`.
fn blobs<'o>(
    root: &Path,
    objects: impl Iterator<Item = &'o String>,
) -> Result<Vec<Vec<u8>>, Failure> {
    let asked: String = objects.map(|object| format!("{object}\n")).collect();
    let mut child = command(root)
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| not_run(&error))?;
    let mut stdin = child.stdin.take();
    // Git answers while it is asked: writing here and reading there would block each other.
    let writer =
        std::thread::spawn(move || stdin.as_mut().map(|stdin| stdin.write_all(asked.as_bytes())));
    let output = child.wait_with_output().map_err(|error| not_run(&error))?;
    // What git did not take shows in what is missing from its answer.
    let _ = writer.join();
    let answer = succeeded(output)?;
    let mut rest = &answer[..];
    let mut contents = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let header = String::from_utf8_lossy(&rest[..end]).into_owned();
        let size = header.rsplit(' ').next().and_then(|size| size.parse::<usize>().ok());
        let body = size.and_then(|size| rest.get(end + 1..end + 1 + size));
        let Some(body) = body else {
            return Err(Failure::outside(&std::io::Error::other(format!("git: {header}"))));
        };
        let limit = usize::try_from(READ_LIMIT).unwrap_or(usize::MAX);
        contents.push(body[..body.len().min(limit)].to_vec());
        rest = rest.get(end + 2 + body.len()..).unwrap_or_default();
    }
    Ok(contents)
}

fn paths(root: &Path, arguments: &[&str]) -> Result<BTreeSet<String>, Failure> {
    let output = succeeded(git(root, arguments)?)?;
    let names = output.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

fn git(root: &Path, arguments: &[&str]) -> Result<Output, Failure> {
    command(root).args(arguments).output().map_err(|error| not_run(&error))
}

fn command(root: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(root);
    // Another user's clone is read here, and nothing that its configuration names is run.
    command.args([
        "-c",
        "safe.directory=*",
        "-c",
        "core.fsmonitor=false",
        "-c",
        "core.quotePath=false",
    ]);
    command
}

fn not_run(error: &std::io::Error) -> Failure {
    Failure::outside(error).while_doing("cannot run git")
}

fn succeeded(output: Output) -> Result<Vec<u8>, Failure> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::outside(&std::io::Error::other(message)).while_doing("git failed"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
