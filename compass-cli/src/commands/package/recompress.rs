//! `compass package --recompress`: layers that old tools cannot load, gzipped.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use compass_bundle::{
    BundlePlan, Recompressed, WriteOptions, create_own_directory, layers_to_recompress, recompress,
};
use compass_registry::storage::DiskStorage;
use compass_registry::{Digest, Reference};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::PlannedBundle;
use crate::error::CliError;
use crate::output::{Output, bytes};

/// What layers are packed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Compression {
    Gzip,
}

/// Where compressed layers are kept until the bundle is written. Dropped, it is removed; a killed run
/// leaves it for the next one.
pub(super) struct StagingDir {
    path: PathBuf,
    /// For a bundle that becomes no file on this machine.
    temporary: Option<TempDir>,
    /// Whether this process has locked the directory.
    is_locked: Cell<bool>,
}

/// An image that has another digest now.
pub(super) struct Changed {
    reference: Reference,
    from: Digest,
    to: Digest,
}

impl StagingDir {
    pub(super) fn beside(bundle: &Path) -> Self {
        let mut path = bundle.as_os_str().to_owned();
        path.push(".layers");
        Self { path: path.into(), temporary: None, is_locked: Cell::new(false) }
    }

    pub(super) fn elsewhere() -> Result<Self, CliError> {
        let made = tempfile::Builder::new().prefix("compass-layers-").tempdir();
        let directory = made.map_err(|error| {
            let place = std::env::temp_dir();
            CliError::external(&error)
                .context(format!("cannot make a directory in {}", place.display()))
        })?;
        let path = directory.path().to_owned();
        Ok(Self { path, temporary: Some(directory), is_locked: Cell::new(false) })
    }

    async fn open(&self) -> Result<DiskStorage, CliError> {
        create_own_directory(&self.path)?;
        let storage = DiskStorage::open_exclusive(&self.path).await?;
        self.is_locked.set(true);
        Ok(storage)
    }

    pub(super) fn remove(self) -> Result<(), CliError> {
        if !self.is_locked.replace(false) {
            return Ok(());
        }
        std::fs::remove_dir_all(&self.path).map_err(|error| {
            let path = self.path.display();
            CliError::external(&error).context(format!("cannot remove {path}"))
        })
    }
}

impl Drop for StagingDir {
    fn drop(&mut self) {
        if self.is_locked.get() && self.temporary.is_none() {
            // Nothing more can be done about what cannot be removed.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Sizes cannot be told of what is not compressed yet.
pub(super) fn require_none(source: &PlannedBundle) -> Result<(), CliError> {
    match layers_to_recompress(&source.contents.images)?.len() {
        0 => Ok(()),
        count => {
            let message =
                format!("{count} layers would be compressed, and only that tells their size");
            Err(CliError::usage(message).hint("leave out `--dry-run`, or `--recompress`"))
        }
    }
}

/// Gzips layers, and plans the bundle once more.
pub(super) async fn gzip(
    source: PlannedBundle,
    staging: &StagingDir,
    jobs: usize,
    output: &Output,
) -> Result<(PlannedBundle, Vec<Changed>), CliError> {
    let layers = layers_to_recompress(&source.contents.images)?;
    if layers.is_empty() {
        return Ok((source, Vec::new()));
    }
    let before = source.contents.images.clone();
    let bar = output.bar("recompress");
    let options = WriteOptions { jobs, progress: bar.shared() };
    let staged = Arc::new(staging.open().await?);
    let PlannedBundle { mut contents, images, .. } = source;
    let recompressed = recompress(images, before.clone(), staged, &options).await;
    bar.done();
    let Recompressed { source: images, images: after, layers } = recompressed?;
    let sizes = layers.iter().fold((0, 0), |sum, (a, b)| (sum.0 + a.size, sum.1 + b.size));
    let (count, was, is) = (layers.len(), bytes(sizes.0), bytes(sizes.1));
    output.status(&format!("{count} layers are gzip now: {was} became {is}"));
    let both = before.iter().zip(&after).filter(|(a, b)| a.root.digest() != b.root.digest());
    let changed: Vec<_> = both
        .map(|(before, after)| Changed {
            reference: after.reference.clone(),
            from: before.root.digest(),
            to: after.root.digest(),
        })
        .collect();
    for Changed { reference, from, to } in &changed {
        output.warn(&format!("{reference} is {to} in the package, and {from} in the registry"));
    }
    contents.images = after;
    let plan = BundlePlan::new(&contents)?;
    Ok((PlannedBundle { plan, contents, images }, changed))
}

pub(super) fn json(changed: &[Changed]) -> Value {
    let one = |changed: &Changed| {
        json!({
            "reference": changed.reference.to_string(),
            "from": changed.from,
            "to": changed.to,
        })
    };
    changed.iter().map(one).collect()
}
