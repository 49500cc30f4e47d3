//! Random changes of a work tree and of its index.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::choices::Choices;
use crate::history::quoted;
use crate::tree::{
    TRIGGER, below, edited, other_case, random_attributes, random_content, random_ignored,
    random_path, trigger,
};
use crate::world::World;

const STEPS: usize = 23;
const PLAIN_STEPS: usize = 19;

/// Changes files on disk and in the index; skips steps that do not apply.
pub(crate) fn change(world: &mut World, choices: &mut Choices) {
    for _ in 0..choices.below(9) {
        let old = world.history.tree().pick(choices);
        let new = random_path(choices, world.prefix);
        let old = old.unwrap_or_else(|| new.clone());
        // The last steps create states that cannot be committed.
        let steps = if choices.percent(40) { STEPS } else { PLAIN_STEPS };
        let _ = match choices.below(steps) {
            step if step < 12 => change_file(world, choices, step, &old, &new),
            step => change_index(world, choices, step, &old, &new),
        };
    }
    if choices.percent(50) {
        let path = below(world.prefix, TRIGGER);
        let _ = write(&at(world, &path), &trigger("v0.3.0"));
        match choices.below(4) {
            0 => drop(world.try_git(&["add", "-f"], &[&path])),
            1 => drop(world.try_git(&["rm", "-q", "--cached"], &[&path])),
            _ => {}
        }
    }
}

fn change_file(
    world: &mut World,
    choices: &mut Choices,
    step: usize,
    old: &[u8],
    new: &[u8],
) -> io::Result<()> {
    let path = at(world, old);
    match step {
        0 => write(&path, &edited(choices, &fs::read(&path)?)),
        1 => write(&at(world, new), &random_content(choices, new)),
        2 => fs::remove_file(&path),
        3 => {
            let mode = fs::metadata(&path)?.permissions().mode();
            fs::set_permissions(&path, Permissions::from_mode(mode ^ 0o111))
        }
        4 => touch(&path, choices),
        5 => {
            fs::remove_file(&path)?;
            let targets: [&[u8]; 4] = [b"gpu.yaml", b"..", b"/etc/hostname", b"nowhere"];
            symlink(OsStr::from_bytes(choices.pick(&targets)), &path)
        }
        6 => {
            fs::remove_file(&path)?;
            write(&path.join("inner.yaml"), b"a: 1\n")
        }
        7 => replace_directory(world, choices, old),
        8 => {
            let path =
                choices.pick(&[".gitignore", "docs/.gitignore", "release-plugins/.gitignore"]);
            write(&world.root().join(path), random_ignored(choices).as_bytes())
        }
        9 => {
            let path = choices.pick(&[".gitattributes", "docs/.gitattributes"]);
            let attributes = random_attributes(choices, world.converts);
            write(&world.root().join(path), attributes.as_bytes())
        }
        10 => {
            let other = if choices.percent(50) { other_case(old) } else { new.to_vec() };
            let other = at(world, &other);
            other.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::rename(&path, other)
        }
        // The same size and time.
        _ => {
            let (content, time) = (fs::read(&path)?, fs::metadata(&path)?.modified()?);
            let changed = content.iter().map(|byte| byte ^ 1).collect::<Vec<_>>();
            write(&path, &changed)?;
            File::options().append(true).open(&path)?.set_modified(time)
        }
    }
}

fn change_index(
    world: &mut World,
    choices: &mut Choices,
    step: usize,
    old: &[u8],
    new: &[u8],
) -> io::Result<()> {
    match step {
        12 => drop(world.try_git(&["add", "-f"], &[old])),
        13 => drop(world.try_git(&["rm", "-q", "-f", "--cached"], &[old])),
        14 => {
            write(&at(world, new), &random_content(choices, new))?;
            world.try_git(&["add", "-N"], &[new]);
        }
        15 => drop(world.try_git(&["add", "-A"], &[])),
        16 => conflict(world, choices, old),
        // Staged, and removed from disk.
        17 => {
            let blob = store(world, &random_content(choices, new));
            let entry = format!("100644 {blob} 0\t{}\n", quoted(new));
            world.run_git(&["update-index", "--index-info"], entry.as_bytes());
        }
        18 => drop(world.try_git(&["reset", "-q", "main", "--"], &[old])),
        19 | 20 => {
            world.is_plain = false;
            let mark = choices.pick(&["--assume-unchanged", "--skip-worktree"]);
            world.try_git(&["update-index", mark], &[old]);
            let step = choices.pick(&[0, 2, 3, 4]);
            change_file(world, choices, step, old, new)?;
        }
        21 => nested_repository(world, choices, &choices_path(world, old, new))?,
        _ => {
            world.is_plain = false;
            let path = at(world, new);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            Command::new("mkfifo").arg(path).output()?;
        }
    }
    Ok(())
}

/// The path of a nested repository: that of a submodule of the commit, or a new one.
fn choices_path(world: &World, old: &[u8], new: &[u8]) -> PathBuf {
    let path = at(world, old);
    if path.is_dir() { path } else { at(world, new) }
}

fn replace_directory(world: &World, choices: &mut Choices, old: &[u8]) -> io::Result<()> {
    let old = old.strip_prefix(world.prefix.as_bytes()).unwrap_or_default();
    let first = old.split(|byte| *byte == b'/').next().unwrap_or_default();
    let path = world.root().join(OsStr::from_bytes(first));
    if first.is_empty() || !path.is_dir() || first == b"released" {
        return Ok(());
    }
    let moved = match choices.percent(50) {
        true => world.root().join("moved"),
        false => world.directory.path().join("moved"),
    };
    fs::rename(&path, &moved)?;
    symlink(moved, path)
}

/// Adds index entries of a path for some sides of a merge.
fn conflict(world: &World, choices: &mut Choices, path: &[u8]) {
    let mut entries = format!("0 {} 0\t{}\n", world.history.absent_object('0'), quoted(path));
    for side in 1..=3 {
        if choices.percent(70) {
            let mode = choices.pick(&["100644", "100644", "100755", "120000"]);
            let blob = store(world, &random_content(choices, path));
            entries += &format!("{mode} {blob} {side}\t{}\n", quoted(path));
        }
    }
    world.run_git(&["update-index", "--index-info"], entries.as_bytes());
}

fn nested_repository(world: &mut World, choices: &mut Choices, path: &Path) -> io::Result<()> {
    // The release repository remains in the outer repository.
    let is_around =
        |path: PathBuf| world.root().canonicalize().is_ok_and(|root| root.starts_with(path));
    if path.canonicalize().is_ok_and(is_around) {
        return Ok(());
    }
    world.is_plain = false;
    fs::create_dir_all(path.join(".git/refs/heads"))?;
    fs::create_dir_all(path.join(".git/objects"))?;
    if world.history.sha256 {
        let format =
            "[core]\n\trepositoryFormatVersion = 1\n[extensions]\n\tobjectFormat = sha256\n";
        fs::write(path.join(".git/config"), format)?;
    }
    write(&path.join("inside.yaml"), b"a: 1\n")?;
    fs::write(path.join(".git/HEAD"), "ref: refs/heads/main\n")?;
    if choices.percent(70) {
        let commit = world.history.absent_object(choices.pick(&['1', '2', '3']));
        fs::write(path.join(".git/refs/heads/main"), format!("{commit}\n"))?;
    }
    Ok(())
}

fn store(world: &World, content: &[u8]) -> String {
    let blob = world.run_git(&["hash-object", "-w", "--no-filters", "--stdin"], content);
    String::from_utf8(blob).unwrap().trim().to_owned()
}

fn touch(path: &Path, choices: &mut Choices) -> io::Result<()> {
    let ago = Duration::from_secs([0, 1, 1 << 20][choices.below(3)]);
    File::options().append(true).open(path)?.set_modified(SystemTime::now() - ago)
}

fn at(world: &World, path: &[u8]) -> PathBuf {
    world.top.join(OsStr::from_bytes(path))
}

/// Writes a file, never through a symbolic link.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    if path.is_symlink() {
        fs::remove_file(path)?;
    }
    fs::write(path, content)
}
