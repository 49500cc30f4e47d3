//! `--recompress`: compresses layers that old container tools cannot load.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use compass_bundle::{
    BundlePlan, Recompressed, WriteOptions, layers_to_recompress, recompress, staging_storage,
};
use compass_registry::storage::Storage;
use compass_registry::{Digest, Reference};
use serde_json::{Value, json};

use crate::display::{counted, human_bytes};
use crate::error::{CliError, Result};
use crate::output::Output;
use crate::packaging::PlannedBundle;
use crate::temporary::TemporaryDirectory;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Compression {
    Gzip,
}

/// The directory that keeps recompressed layers until the bundle is written. It is removed when it is
/// dropped; a killed process leaves it for the next run.
pub(super) struct StagingDir {
    path: PathBuf,
    /// Set if the bundle is not written to a local file.
    temporary: Option<TemporaryDirectory>,
    /// Whether this process has locked the directory.
    is_locked: Cell<bool>,
}

/// An image whose digest was changed by the recompression.
pub(super) struct Changed {
    reference: Reference,
    from: Digest,
    to: Digest,
}

impl StagingDir {
    /// The directory next to a bundle, which a later run can reuse.
    pub(super) fn persistent(bundle: &Path) -> Self {
        let mut path = bundle.as_os_str().to_owned();
        path.push(".layers");
        Self { path: path.into(), temporary: None, is_locked: Cell::new(false) }
    }

    pub(super) fn temporary() -> Result<Self> {
        let directory = TemporaryDirectory::new("compass-layers-")?;
        let path = directory.path().to_owned();
        Ok(Self { path, temporary: Some(directory), is_locked: Cell::new(false) })
    }

    async fn open(&self) -> Result<Arc<dyn Storage>> {
        let storage = staging_storage(&self.path).await?;
        self.is_locked.set(true);
        Ok(storage)
    }

    pub(super) fn remove(self) -> Result<()> {
        if !self.is_locked.replace(false) {
            return Ok(());
        }
        std::fs::remove_dir_all(&self.path).map_err(CliError::io("remove", &self.path))
    }
}

impl Drop for StagingDir {
    fn drop(&mut self) {
        if self.is_locked.get() && self.temporary.is_none() {
            // `drop` cannot report an error.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Returns an error if there are layers to recompress, whose sizes are not known in advance.
pub(super) fn require_none(bundle: &PlannedBundle) -> Result<()> {
    match layers_to_recompress(&bundle.contents.images)?.len() {
        0 => Ok(()),
        count => {
            let layers = counted(count, "layer");
            let message = format!("cannot know the size of {layers} before recompression");
            Err(CliError::usage(message).hint("omit `--dry-run` or `--recompress`"))
        }
    }
}

/// Compresses layers with gzip, and plans the bundle again.
pub(super) async fn gzip(
    bundle: PlannedBundle,
    staging: &StagingDir,
    jobs: usize,
    output: &Output,
) -> Result<(PlannedBundle, Vec<Changed>)> {
    let layers = layers_to_recompress(&bundle.contents.images)?;
    if layers.is_empty() {
        return Ok((bundle, Vec::new()));
    }
    let before = bundle.contents.images.clone();
    let progress = output.progress("recompress");
    let options = WriteOptions::default().jobs(jobs).progress(progress.shared());
    let storage = staging.open().await?;
    let PlannedBundle { mut contents, images, .. } = bundle;
    let recompressed = recompress(images, before.clone(), storage, &options).await?;
    drop((options, progress));
    let Recompressed { source: images, images: after, layers, .. } = recompressed;
    let old = human_bytes(layers.iter().map(|layer| layer.before.size).sum());
    let new = human_bytes(layers.iter().map(|layer| layer.after.size).sum());
    let count = counted(layers.len(), "layer");
    output.status(&format!("recompressed {count} from {old} to {new}"));
    let pairs = before.iter().zip(&after).filter(|(a, b)| a.root.digest() != b.root.digest());
    let changed: Vec<_> = pairs
        .map(|(before, after)| Changed {
            reference: after.reference.clone(),
            from: before.root.digest(),
            to: after.root.digest(),
        })
        .collect();
    for Changed { reference, from, to } in &changed {
        output.warn(&format!(
            "{reference}: the digest is {to} in the package and {from} in the registry"
        ));
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
