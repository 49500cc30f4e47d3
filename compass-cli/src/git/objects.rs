//! Trees and blobs of commits.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;

use super::Git;
use super::command::not_run;
use crate::failure::Failure;

/// What a tree or the index has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    /// A symbolic link.
    Link,
    /// The commit of a submodule.
    Submodule,
}

/// An entry of a tree or of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    pub(crate) object: String,
}

impl EntryKind {
    /// From the mode that git prints; `None` for a mode that git does not write.
    pub(super) fn of_mode(mode: &str) -> Option<Self> {
        match mode {
            "120000" => Some(Self::Link),
            "160000" => Some(Self::Submodule),
            _ => mode.starts_with("100").then_some(Self::File),
        }
    }
}

impl Git {
    /// The entries of the release repository at a commit, by path.
    pub(crate) fn entries(&self, commit: &str) -> Result<BTreeMap<String, Entry>, Failure> {
        let mut command = self.command();
        command.args(["ls-tree", "-r", "-z", "--full-tree", commit]).args(self.pathspec());
        let output = command.output().map_err(|error| not_run(&error))?;
        if !output.status.success() {
            return Err(self.missing_objects().unwrap_or_else(|| self.refused(&output)));
        }
        let mut entries = BTreeMap::new();
        for line in output.stdout.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let Some(tab) = line.iter().position(|byte| *byte == b'\t') else { continue };
            let about = String::from_utf8_lossy(&line[..tab]).into_owned();
            let words: Vec<&str> = about.split(' ').collect();
            let ([mode, _, object], Some(path)) = (&words[..], self.relative(&line[tab + 1..]))
            else {
                continue;
            };
            if let Some(kind) = EntryKind::of_mode(mode) {
                entries.insert(path, Entry { kind, object: (*object).to_owned() });
            }
        }
        Ok(entries)
    }

    /// The contents of blobs, in the order of `objects`, each up to `limit` bytes.
    ///
    /// # Errors
    ///
    /// If an object is missing, as in a partial clone.
    pub(crate) fn blobs<'o>(
        &self,
        objects: impl IntoIterator<Item = &'o str>,
        limit: u64,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        self.cat_file("--batch", objects, |reader, size| {
            let mut bytes = Vec::new();
            reader.by_ref().take(size.min(limit)).read_to_end(&mut bytes)?;
            let rest = size - bytes.len() as u64;
            // The newline behind the content.
            std::io::copy(&mut reader.by_ref().take(rest + 1), &mut std::io::sink())?;
            Ok(bytes)
        })
    }

    /// The sizes of blobs in bytes, in the order of `objects`.
    pub(crate) fn sizes<'o>(
        &self,
        objects: impl IntoIterator<Item = &'o str>,
    ) -> Result<Vec<u64>, Failure> {
        self.cat_file("--batch-check", objects, |_, size| Ok(size))
    }

    /// Runs one `git cat-file` for many objects; `read` takes what follows an object's header.
    fn cat_file<'o, T>(
        &self,
        mode: &str,
        objects: impl IntoIterator<Item = &'o str>,
        mut read: impl FnMut(&mut BufReader<std::process::ChildStdout>, u64) -> std::io::Result<T>,
    ) -> Result<Vec<T>, Failure> {
        let objects: Vec<&str> = objects.into_iter().collect();
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        let asked: String = objects.iter().map(|object| format!("{object}\n")).collect();
        let mut child = self
            .command()
            .args(["cat-file", mode, "--buffer"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| not_run(&error))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        // Git answers while it is asked: to write here and read there would block each other.
        let writer = std::thread::spawn(move || {
            stdin.map(|mut stdin| stdin.write_all(asked.as_bytes()));
        });
        let mut found = Vec::with_capacity(objects.len());
        let broken = |error: &std::io::Error| {
            Failure::usage(format!("cannot read objects of {}: {error}", self.top_level.display()))
        };
        let mut reader =
            BufReader::new(stdout.ok_or_else(|| broken(&std::io::ErrorKind::BrokenPipe.into()))?);
        let result = objects.iter().try_for_each(|object| {
            let mut header = String::new();
            reader.read_line(&mut header).map_err(|error| broken(&error))?;
            let size = header.trim_end().rsplit(' ').next().and_then(|size| size.parse().ok());
            let size = size.ok_or_else(|| self.absent(object))?;
            found.push(read(&mut reader, size).map_err(|error| broken(&error))?);
            Ok(())
        });
        drop(reader);
        // Git ends when its pipes are closed.
        let _ = (writer.join(), child.wait());
        result.map(|()| found)
    }

    fn absent(&self, object: &str) -> Failure {
        self.missing_objects().unwrap_or_else(|| {
            let message = format!("{} lacks the object {object}", self.top_level.display());
            Failure::usage(message).hint(format!("check the clone: {}", self.shown("fsck")))
        })
    }

    /// The error for a clone that was made without some of its objects (`--filter`).
    fn missing_objects(&self) -> Option<Failure> {
        let keys = ["config", "--name-only", "--get-regexp", r"^remote\..*\.promisor$"];
        let output = self.run(keys).ok()?;
        let keys = String::from_utf8_lossy(&output.stdout).into_owned();
        let remote = keys.lines().next()?.strip_prefix("remote.")?.strip_suffix(".promisor")?;
        let message = format!(
            "{} is a partial clone and lacks objects of the commits that are compared",
            self.top_level.display()
        );
        let fetch = self.shown(&format!("fetch --refetch --no-filter {remote}"));
        Some(Failure::usage(message).hint(format!("fetch them: {fetch}")))
    }
}
