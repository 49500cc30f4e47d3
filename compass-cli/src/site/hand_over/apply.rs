//! Runs a command for each rendered file.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::process::{ExitStatus, Stdio};

use compass_registry::Digest;
use tempfile::TempDir;

use crate::display::counted;
use crate::error::{CliError, Result};
use crate::output::Output;
use crate::site::manifests::RenderedFile;
use crate::site::receipts::{History, Journal};

/// The part of the command that is replaced by the path of the file.
const PLACEHOLDER: &str = "{}";

/// The environment variable with the path of the file in the package.
const PATH_VARIABLE: &str = "COMPASS_FILE";

/// Checks that the command takes a file.
pub(super) fn check(command: &str) -> Result<()> {
    match command.contains(PLACEHOLDER) {
        true => Ok(()),
        false => Err(CliError::usage("the command of `--apply` does not contain `{}`")
            .hint("write `kubectl apply --server-side --field-manager=compass -f {}`")),
    }
}

/// Runs the command for each file in order, and stops at the first failure.
///
/// The journal records the applied files, so that a second run of the same command continues with the
/// next one. Files with secrets are applied again, because the journal must not contain a hash of a secret.
pub(super) async fn run(
    command: &str,
    files: &[RenderedFile],
    history: &History,
    output: &Output,
) -> Result<()> {
    let command_digest = Digest::of(command.as_bytes());
    let before = history.journal().filter(|journal| journal.command == command_digest);
    let before = before.map(|journal| journal.applied).unwrap_or_default();
    let mut journal = Journal { command: command_digest, applied: Vec::new() };
    let directory = tempfile::tempdir().map_err(|error| CliError::external(&error))?;
    for (number, file) in files.iter().enumerate() {
        let done = (file.path.clone(), Digest::of(file.public.as_bytes()));
        let is_done = file.secret_variables.is_empty() && before.contains(&done);
        if !is_done {
            // From here on, files that another version applied do not count.
            history.set_journal(&journal)?;
            let status = run_one(command, &directory, number, file).await;
            let status = status
                .map_err(|error| CliError::external(&error).context(failed(file, files, number)))?;
            if !status.success() {
                let cause = format!("the command ended with {status}");
                return Err(CliError::check_failed(failed(file, files, number))
                    .into_external()
                    .with_cause(cause)
                    .hint("correct the cause, and run the same command again: it continues with this file"));
            }
            output.status(&format!("applied {}", file.path));
        }
        journal.applied.push(done);
        history.set_journal(&journal)?;
    }
    Ok(())
}

/// Describes a failure, with the files that were applied and those that were not.
fn failed(file: &RenderedFile, files: &[RenderedFile], number: usize) -> String {
    let applied: Vec<_> = files[..number].iter().map(|file| file.path.as_str()).collect();
    let left = match files.len() - number - 1 {
        0 => "nothing".to_owned(),
        left => counted(left, "file"),
    };
    let applied = if applied.is_empty() { "nothing".to_owned() } else { applied.join(", ") };
    format!(
        "cannot apply {}: applied before it: {applied}; not applied after it: {left}",
        file.path
    )
}

async fn run_one(
    command: &str,
    directory: &TempDir,
    number: usize,
    file: &RenderedFile,
) -> std::io::Result<ExitStatus> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let name: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c)).collect();
    // Only the owner can read the directory.
    let path = directory.path().join(format!("{number}-{name}"));
    let mut written = std::fs::File::create(&path)?;
    written.write_all(file.full.as_bytes())?;
    drop(written);
    let mut child = tokio::process::Command::new("sh");
    let script = command.replace(PLACEHOLDER, &shell_word(&path.display().to_string()));
    child.arg("-c").arg(script).env(PATH_VARIABLE, &file.path).stdin(Stdio::null());
    // stdout is for the result of this program.
    child.stdout(std::io::stderr().as_fd().try_clone_to_owned()?).kill_on_drop(true);
    let status = child.status().await;
    std::fs::remove_file(&path)?;
    status
}

/// Quotes a path for a shell, if it needs quotes. Usual paths need none, so that `{}`, `'{}'` and `"{}"`
/// in the command are the same.
fn shell_word(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    match path.chars().all(is_plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_word_is_one_word() {
        assert_eq!(shell_word("/tmp/.tmpAb1/0-a_b.yaml"), "/tmp/.tmpAb1/0-a_b.yaml");
        assert_eq!(shell_word("/tmp/it's a $dir"), r"'/tmp/it'\''s a $dir'");
    }
}
