//! The destination of a package: a file, a store or a stream.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use compass_bundle::store::{Published, Store};
use compass_bundle::{BundlePlan, OutputStream, Written, write_into};
use compass_registry::Digest;
use serde_json::{Value, json};

use super::super::publish::describe_transfer;
use super::Args;
use super::recompress::{self, Changed, StagingDir};
use crate::display::human_bytes;
use crate::error::{CliError, Result};
use crate::fs::{self, is_special};
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::packaging::{PlannedBundle, write_error, write_to_file, write_to_store};

/// The value of `--output` for standard output.
const STDOUT: &str = "-";

pub(super) enum Destination {
    File(PathBuf),
    /// Standard output, a pipe or a device, which are written in order.
    Stream(PathBuf),
    Store(Arc<dyn Store>),
}

/// The package that was written.
pub(super) enum PackageResult {
    Written(Written),
    Streamed(Written),
    Published(Published),
}

impl Destination {
    pub(super) fn new(args: &Args, plan: &BundlePlan, global: &GlobalArgs) -> Result<Self> {
        let output = args.output.as_str();
        let path = Path::new(output);
        if output.contains("://") {
            return Ok(Self::Store(args.publication.open_store(output, global)?));
        }
        if output == STDOUT && std::io::stdout().is_terminal() {
            let message = "refusing to write a package to a terminal";
            return Err(CliError::usage(message).hint("use `-o FILE`, or redirect the output"));
        }
        if output == STDOUT || is_special(path) {
            return Ok(Self::Stream(path.to_owned()));
        }
        if output.ends_with(".tar.gz") && !path.is_dir() {
            return Ok(Self::File(path.to_owned()));
        }
        std::fs::create_dir_all(path).map_err(CliError::io("create", path))?;
        Ok(Self::File(path.join(plan.file_name())))
    }

    /// Whether writing here publishes the package.
    pub(super) fn is_store(&self) -> bool {
        matches!(self, Self::Store(_))
    }

    /// The directory for recompressed layers.
    pub(super) fn staging(&self) -> Result<StagingDir> {
        match self {
            Self::File(path) => Ok(StagingDir::persistent(path)),
            Self::Stream(_) | Self::Store(_) => StagingDir::temporary(),
        }
    }

    pub(super) async fn write(
        &self,
        bundle: PlannedBundle,
        jobs: usize,
        output: &Output,
    ) -> Result<PackageResult> {
        match self {
            Self::File(path) => {
                write_to_file(bundle, path, jobs, output).await.map(PackageResult::Written)
            }
            Self::Stream(path) => {
                write_to_stream(bundle, path, output).await.map(PackageResult::Streamed)
            }
            Self::Store(store) => {
                write_to_store(bundle, &**store, jobs, output).await.map(PackageResult::Published)
            }
        }
    }
}

async fn write_to_stream(bundle: PlannedBundle, path: &Path, output: &Output) -> Result<Written> {
    let shown = output.progress("package");
    let progress = shown.shared();
    let (plan, images) = (Arc::new(bundle.plan), bundle.images);
    let is_stdout = path == Path::new(STDOUT);
    let name = if is_stdout { Path::new("standard output") } else { path };
    let digest = if is_stdout {
        let mut stdout = tokio::io::stdout();
        write_into(&plan, images, OutputStream::new(&mut stdout, name), &*progress).await
    } else {
        match tokio::fs::OpenOptions::new().write(true).open(path).await {
            Ok(mut opened) => {
                write_into(&plan, images, OutputStream::new(&mut opened, path), &*progress).await
            }
            Err(error) => return Err(fs::write_error(path, &error)),
        }
    };
    let digest = digest.map_err(|error| write_error(error, name))?;
    Ok(Written::new(path.to_owned(), plan.size(), digest))
}

impl PackageResult {
    /// Prints the result with the digest of the bundle.
    ///
    /// Prints to stderr if the package itself was written to stdout.
    pub(super) fn print(&self, digest: Digest, changed: &[Changed], output: &Output) {
        let (json, text) = (|| self.to_json(digest, changed), || self.to_text(digest));
        match self {
            Self::Streamed(_) => output.result_to_stderr(json, text),
            Self::Written(_) | Self::Published(_) => output.result(json, text),
        }
    }

    fn to_json(&self, digest: Digest, changed: &[Changed]) -> Value {
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
                "sent": published.sent,
                "copied": published.copied,
            }),
        };
        value["digest"] = json!(digest);
        value["recompressed"] = recompress::json(changed);
        value["dryRun"] = json!(false);
        value
    }

    fn to_text(&self, digest: Digest) -> String {
        let (name, file, size, transfer) = match self {
            Self::Written(one) | Self::Streamed(one) => {
                (one.path.display().to_string(), one.digest, one.size, None)
            }
            Self::Published(one) => {
                (one.url.clone(), one.digest, one.size, Some(describe_transfer(one)))
            }
        };
        let transfer = transfer.map(|text| format!(", {text}")).unwrap_or_default();
        let (hex, human) = (file.hex(), human_bytes(size));
        format!("{hex}  {name}\n{size} bytes ({human}){transfer}\ndigest {digest}\n")
    }
}
