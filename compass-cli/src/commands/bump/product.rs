//! The repository as it was when a product version was released.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use compass_manifest::Tree;
use compass_manifest::version::ProductVersion;
use compass_manifest::yaml::MAX_BYTES;

use crate::failure::Failure;
use crate::repository::is_read;

/// The files at a product version's tag; `None` where there is no such tag, or no git.
pub(super) fn tagged(root: &Path, version: &ProductVersion) -> Result<Option<Tree>, Failure> {
    let Ok(tags) = git(root, &["tag", "--list"]) else { return Ok(None) };
    let tags = String::from_utf8_lossy(&tags).into_owned();
    let same = |tag: &&str| {
        tag.parse::<ProductVersion>().is_ok_and(|tagged| tagged.is_same_release(version))
    };
    // Where a release has several tags, the one that is spelt as it was asked for.
    let tag = tags.lines().filter(same).max_by_key(|tag| *tag == version.as_str());
    tag.map(|tag| {
        read(root, tag).map_err(|failure| failure.while_doing(format!("cannot read the tag {tag}")))
    })
    .transpose()
}

fn read(root: &Path, tag: &str) -> Result<Tree, Failure> {
    let listing = git(root, &["ls-tree", "-r", "-l", "-z", &format!("refs/tags/{tag}")])?;
    let mut paths = Vec::new();
    let mut asked = String::new();
    for entry in listing.split(|byte| *byte == 0) {
        let entry = String::from_utf8_lossy(entry);
        let Some((about, path)) = entry.split_once('\t') else { continue };
        let words: Vec<&str> = about.split_whitespace().collect();
        let [mode, "blob", object, size] = words[..] else { continue };
        let readable = size.parse::<usize>().is_ok_and(|size| size <= MAX_BYTES);
        // Links are not followed, here as in the working tree.
        if is_read(path) && mode != "120000" && readable {
            asked.push_str(object);
            asked.push('\n');
            paths.push(path.to_owned());
        }
    }
    Ok(paths.into_iter().zip(blobs(root, asked)?).collect())
}

/// The contents of blobs, in the order that they are asked for.
fn blobs(root: &Path, asked: String) -> Result<Vec<Vec<u8>>, Failure> {
    let mut child = command(root)
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Failure::outside(&error))?;
    let mut stdin = child.stdin.take();
    // Git answers while it is asked: writing here and reading there would block each other.
    let writer =
        std::thread::spawn(move || stdin.as_mut().map(|stdin| stdin.write_all(asked.as_bytes())));
    let answer = child.wait_with_output().map_err(|error| Failure::outside(&error))?.stdout;
    // What git did not take shows in what is missing from its answer.
    let _ = writer.join();
    let mut contents = Vec::new();
    let mut rest = answer.as_slice();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let header = String::from_utf8_lossy(&rest[..end]).into_owned();
        let size = header.rsplit(' ').next().and_then(|size| size.parse::<usize>().ok());
        let body = size.and_then(|size| rest.get(end + 1..end + 1 + size)).ok_or_else(|| {
            Failure::outside(&std::io::Error::other(format!("git cat-file: {header}")))
        })?;
        contents.push(body.to_vec());
        rest = rest.get(end + 2 + body.len()..).unwrap_or_default();
    }
    Ok(contents)
}

fn git(root: &Path, arguments: &[&str]) -> Result<Vec<u8>, Failure> {
    let output =
        command(root).args(arguments).output().map_err(|error| Failure::outside(&error))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::outside(&std::io::Error::other(message)))
}

fn command(root: &Path) -> Command {
    let mut command = Command::new("git");
    // Another user's clone is read here, and nothing that its configuration names is run.
    command.arg("-C").arg(root).args(["-c", "safe.directory=*", "-c", "core.fsmonitor=false"]);
    command
}
