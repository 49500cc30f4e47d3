//! Trees and blobs of commits.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use compass_manifest::EntryKind;
use compass_registry::{Algorithm, Hasher};
use rustix::process::Signal;
use sha1::{Digest as _, Sha1};

use super::Git;
use super::command::{output, require_exit, spawn_error};
use super::work_tree::nul_separated;
use crate::error::{CliError, Result};

/// An entry of a tree or of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    pub(crate) object: String,
}

/// Parses a mode as git prints it; `None` for modes that git does not write.
pub(crate) fn kind_of_mode(mode: &str) -> Option<EntryKind> {
    match mode {
        "120000" => Some(EntryKind::Link),
        "160000" => Some(EntryKind::Submodule),
        _ => mode.starts_with("100").then_some(EntryKind::File),
    }
}

/// Whether `object` is the name of the blob `content` in either object format of git.
pub(crate) fn is_blob(object: &str, content: &[u8]) -> bool {
    const SHA1_DIGITS: usize = 40;
    let header = format!("blob {}\0", content.len());
    if object.len() == SHA1_DIGITS {
        let digest = Sha1::new_with_prefix(header).chain_update(content).finalize();
        return digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>() == object;
    }
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(header.as_bytes());
    hasher.update(content);
    hasher.finish().hex() == object
}

/// Parses `MODE TYPE OBJECT<tab>PATH`.
fn parse_tree_entry(line: &[u8]) -> Option<(Vec<u8>, Entry)> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let fields = String::from_utf8_lossy(&line[..tab]);
    let mut words = fields.split(' ');
    let (mode, _, object) = (words.next()?, words.next()?, words.next()?);
    let entry = Entry { kind: kind_of_mode(mode)?, object: object.to_owned() };
    Some((line[tab + 1..].to_vec(), entry))
}

impl Git {
    /// The entries of the release repository at a commit, by path.
    pub(crate) fn entries(&self, commit: &str) -> Result<BTreeMap<String, Entry>> {
        let entries = self.tree(commit)?.into_iter();
        Ok(entries.filter_map(|(path, entry)| Some((self.relative(&path)?, entry))).collect())
    }

    /// The entries of the release repository at a commit, by path of the git repository.
    pub(super) fn tree(&self, commit: &str) -> Result<BTreeMap<Vec<u8>, Entry>> {
        match &self.snapshot {
            Some(snapshot) => snapshot.entries(commit, || self.read_tree(commit)),
            None => self.read_tree(commit),
        }
    }

    fn read_tree(&self, commit: &str) -> Result<BTreeMap<Vec<u8>, Entry>> {
        let mut command = self.command();
        command.args(["ls-tree", "-r", "-z", "--full-tree", commit]).args(self.pathspec());
        let output = output(&mut command)?;
        if !output.status.success() {
            return Err(self.partial_clone_error().unwrap_or_else(|| self.git_error(&output)));
        }
        Ok(nul_separated(&output.stdout).filter_map(parse_tree_entry).collect())
    }

    /// Reads blobs in the order of `objects`, each up to `limit` bytes.
    ///
    /// # Errors
    ///
    /// If an object is missing, as in a partial clone.
    pub(crate) fn blobs<'o>(
        &self,
        objects: impl IntoIterator<Item = &'o str>,
        limit: u64,
    ) -> Result<Vec<Vec<u8>>> {
        self.cat_file(objects, |reader, size| {
            let mut bytes = Vec::new();
            reader.by_ref().take(size.min(limit)).read_to_end(&mut bytes)?;
            // A newline follows the content.
            let rest = size - bytes.len() as u64 + 1;
            match std::io::copy(&mut reader.by_ref().take(rest), &mut std::io::sink())? {
                skipped if skipped == rest => Ok(bytes),
                _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
            }
        })
    }

    /// Runs one `git cat-file` for many objects; `read` reads what follows the header of each.
    fn cat_file<'o, T>(
        &self,
        objects: impl IntoIterator<Item = &'o str>,
        mut read: impl FnMut(&mut BufReader<std::process::ChildStdout>, u64) -> std::io::Result<T>,
    ) -> Result<Vec<T>> {
        let objects: Vec<&str> = objects.into_iter().collect();
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        let input: String = objects.iter().map(|object| format!("{object}\n")).collect();
        let mut child = self
            .command()
            .args(["cat-file", "--batch", "--buffer"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| spawn_error(&error))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        // Git writes before it has read all of its input, so that a single thread could deadlock.
        let writer = std::thread::spawn(move || {
            stdin.map(|mut stdin| stdin.write_all(input.as_bytes()));
        });
        let mut contents = Vec::with_capacity(objects.len());
        let broken = |error: &std::io::Error| {
            CliError::usage(format!("cannot read objects of {}: {error}", self.top_level.display()))
        };
        let mut reader =
            BufReader::new(stdout.ok_or_else(|| broken(&std::io::ErrorKind::BrokenPipe.into()))?);
        let result: Result<()> = objects.iter().try_for_each(|object| {
            let mut header = String::new();
            reader.read_line(&mut header).map_err(|error| broken(&error))?;
            let size = header.trim_end().rsplit(' ').next().and_then(|size| size.parse().ok());
            let size = size.ok_or_else(|| self.missing_object(object))?;
            contents.push(read(&mut reader, size).map_err(|error| broken(&error))?);
            Ok(())
        });
        // After an error, a closed pipe ends git.
        drop(reader);
        let _ = writer.join();
        let status = child.wait().map_err(|error| spawn_error(&error))?;
        if status.signal() != Some(Signal::PIPE.as_raw()) {
            require_exit(status)?;
        }
        result?;
        match status.success() {
            true => Ok(contents),
            false => Err(broken(&std::io::Error::other(status.to_string()))),
        }
    }

    pub(super) fn missing_object(&self, object: &str) -> CliError {
        self.partial_clone_error().unwrap_or_else(|| {
            let message =
                format!("{} does not contain the object {object}", self.top_level.display());
            CliError::usage(message).hint(format!("check the clone: {}", self.command_hint("fsck")))
        })
    }

    /// The error for a partial clone (`--filter`).
    fn partial_clone_error(&self) -> Option<CliError> {
        let keys = ["config", "--name-only", "--get-regexp", r"^remote\..*\.promisor$"];
        let output = self.run(keys).ok()?;
        let keys = String::from_utf8_lossy(&output.stdout).into_owned();
        let remote = keys.lines().next()?.strip_prefix("remote.")?.strip_suffix(".promisor")?;
        let message = format!(
            "{} is a partial clone without some objects of the compared commits",
            self.top_level.display()
        );
        let fetch = self.command_hint(&format!("fetch --refetch --no-filter {remote}"));
        Some(CliError::usage(message).hint(format!("fetch them: {fetch}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_blob_supports_both_object_formats() {
        for (object, content) in [
            ("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", ""),
            ("ce013625030ba8dba906f756967f9e9ca394464a", "hello\n"),
            ("473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813", ""),
            ("2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4", "hello\n"),
        ] {
            assert!(is_blob(object, content.as_bytes()), "{object}");
            assert!(!is_blob(object, b"hello\r\n"), "{object}");
        }
    }
}
