//! Where a package goes: a file, a store, or whatever takes a stream.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use compass_bundle::store::{Published, Store};
use compass_bundle::{BundlePlan, WriteOptions, Written, write_as, write_into};
use serde_json::{Value, json};

use super::PlannedBundle;
use super::recompress::{self, Changed, StagingDir};
use crate::error::CliError;
use crate::fs::{self, is_special};
use crate::output::{Output, bytes};

/// What stands for standard output.
const STDOUT: &str = "-";

/// Where a package goes.
pub(super) enum Destination {
    File(PathBuf),
    /// Standard output, a pipe or a device: bytes in order, and nothing to go back to.
    Stream(PathBuf),
    Store(Store),
}

/// A package that has been made.
pub(super) enum PackageResult {
    Written(Written),
    Streamed(Written),
    Published(Published),
}

impl Destination {
    pub(super) fn of(output: &str, plan: &BundlePlan) -> Result<Self, CliError> {
        let path = Path::new(output);
        if output.contains("://") {
            return Ok(Self::Store(Store::open(output)?));
        }
        if output == STDOUT && std::io::stdout().is_terminal() {
            let message = "a package is nothing for a terminal";
            return Err(CliError::usage(message).hint("redirect it, or name a file with `-o`"));
        }
        if output == STDOUT || is_special(path) {
            return Ok(Self::Stream(path.to_owned()));
        }
        if output.ends_with(".tar.gz") && !path.is_dir() {
            return Ok(Self::File(path.to_owned()));
        }
        std::fs::create_dir_all(path).map_err(|error| {
            CliError::external(&error).context(format!("cannot create {output}"))
        })?;
        Ok(Self::File(path.join(plan.file_name())))
    }

    /// Whether writing here publishes the package.
    pub(super) fn is_store(&self) -> bool {
        matches!(self, Self::Store(_))
    }

    /// Where layers that are compressed again wait for the others.
    pub(super) fn staging(&self) -> Result<StagingDir, CliError> {
        match self {
            Self::File(path) => Ok(StagingDir::beside(path)),
            Self::Stream(_) | Self::Store(_) => StagingDir::elsewhere(),
        }
    }

    pub(super) async fn take(
        &self,
        source: PlannedBundle,
        jobs: usize,
        output: &Output,
    ) -> Result<PackageResult, CliError> {
        match self {
            Self::File(path) => {
                to_file(source, path, jobs, output).await.map(PackageResult::Written)
            }
            Self::Stream(path) => stream(source, path, output).await.map(PackageResult::Streamed),
            Self::Store(store) => {
                let bar = output.bar("package");
                let options = WriteOptions { jobs, progress: bar.shared() };
                let plan = Arc::new(source.plan);
                let published = store.write(&plan, source.images, &options).await;
                bar.done();
                Ok(PackageResult::Published(published?))
            }
        }
    }
}

/// Writes a planned bundle to a file.
pub(crate) async fn to_file(
    source: PlannedBundle,
    path: &Path,
    jobs: usize,
    output: &Output,
) -> Result<Written, CliError> {
    let bar = output.bar("package");
    let options = WriteOptions { jobs, progress: bar.shared() };
    let written = write_as(&source.plan, source.images, path, &options).await;
    bar.done();
    written.map_err(|error| not_written(error, path))
}

fn not_written(error: compass_bundle::Error, path: &Path) -> CliError {
    CliError::from(error).context(format!("cannot write {}", path.display()))
}

async fn stream(source: PlannedBundle, path: &Path, output: &Output) -> Result<Written, CliError> {
    let bar = output.bar("package");
    let progress = bar.shared();
    let (plan, images) = (Arc::new(source.plan), source.images);
    let digest = if path == Path::new(STDOUT) {
        write_into(&plan, images, (&mut tokio::io::stdout(), path), &*progress).await
    } else {
        match tokio::fs::OpenOptions::new().write(true).open(path).await {
            Ok(mut opened) => write_into(&plan, images, (&mut opened, path), &*progress).await,
            Err(error) => return Err(fs::not_written(path, &error)),
        }
    };
    bar.done();
    let digest = digest.map_err(|error| not_written(error, path))?;
    Ok(Written { path: path.to_owned(), size: plan.size(), digest })
}

impl PackageResult {
    /// Shows what became of it. Where the package went to standard output, that stays its own.
    pub(super) fn show(&self, changed: &[Changed], output: &Output) {
        let (json, text) = (|| self.to_json(changed), || self.to_text());
        match self {
            Self::Streamed(_) => output.result_to_stderr(json, text),
            Self::Written(_) | Self::Published(_) => output.result(json, text),
        }
    }

    fn to_json(&self, changed: &[Changed]) -> Value {
        let mut value = match self {
            Self::Written(written) | Self::Streamed(written) => json!({
                "bundle": written.path.display().to_string(),
                "size": written.size,
                "sha256": written.digest.hex(),
            }),
            Self::Published(published) => json!({
                "bundle": published.url,
                "size": published.size,
                "sha256": published.digest.hex(),
                "present": published.present,
            }),
        };
        value["recompressed"] = recompress::json(changed);
        value["dryRun"] = json!(false);
        value
    }

    fn to_text(&self) -> String {
        let (name, digest, size, present) = match self {
            Self::Written(one) | Self::Streamed(one) => {
                (one.path.display().to_string(), one.digest, one.size, false)
            }
            Self::Published(one) => (one.url.clone(), one.digest, one.size, one.present),
        };
        let present = if present { ", was there already" } else { "" };
        format!("{}  {name}\n{size} bytes ({}){present}\n", digest.hex(), bytes(size))
    }
}
