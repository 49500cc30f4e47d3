//! Reads a published bundle back, to verify it and to compute its digest.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use compass_registry::{Digest, Progress};

use super::object_file::ObjectFile;
use crate::read::{BundleSource, read_exact};
use crate::{Bundle, BundlePlan, Error, VerifyOptions};

/// Bytes per request.
const READ_SIZE: u64 = 2 << 20;

/// Whether a published object is the bundle of a plan. This compares only its structure.
///
/// # Errors
/// The errors of the storage.
pub(super) async fn is_bundle_of(file: ObjectFile, plan: &BundlePlan) -> Result<bool, Error> {
    match Bundle::read(Arc::new(file)).await {
        Ok(bundle) => Ok(bundle.digest() == plan.digest()),
        Err(Error::NotABundle { .. } | Error::Damaged { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a published object, verifies every byte, and returns its digest. Returns `None` if it is not
/// the bundle of the plan, or is damaged.
///
/// # Errors
/// The errors of the storage.
pub(super) async fn verify(
    file: ObjectFile,
    plan: &BundlePlan,
    progress: Arc<dyn Progress>,
) -> Result<Option<Digest>, Error> {
    let bundle = match Bundle::read(Arc::new(ReadBack { file, window: Mutex::default() })).await {
        Ok(bundle) if bundle.digest() == plan.digest() => bundle,
        Ok(_) | Err(Error::NotABundle { .. } | Error::Damaged { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let report = bundle.verify(&VerifyOptions::default().progress(progress)).await?;
    for damage in &report.damages {
        tracing::warn!(bundle = bundle.name(), what = damage.what, "the object is damaged");
    }
    Ok(report.digest.filter(|_| report.damages.is_empty()))
}

/// An object without its `.sha256`, read in large ranges.
#[derive(Debug)]
struct ReadBack {
    file: ObjectFile,
    /// The bytes of the last request, with their offset.
    window: Mutex<(u64, Bytes)>,
}

#[async_trait]
impl BundleSource for ReadBack {
    fn name(&self) -> String {
        self.file.name()
    }

    fn size(&self) -> u64 {
        self.file.size()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        if let Some(bytes) = self.cached(&range) {
            return Ok(bytes);
        }
        let end = self.size().min(range.end.max(range.start + READ_SIZE));
        let bytes = read_exact(&self.file, range.start..end).await?;
        *self.window.lock().unwrap_or_else(PoisonError::into_inner) = (range.start, bytes);
        self.cached(&range).ok_or_else(|| Error::damaged("the object became shorter"))
    }
}

impl ReadBack {
    fn cached(&self, range: &Range<u64>) -> Option<Bytes> {
        let window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let (offset, bytes) = &*window;
        let at = |position: u64| usize::try_from(position.checked_sub(*offset)?).ok();
        let (start, end) = (at(range.start)?, at(range.end)?);
        (end <= bytes.len()).then(|| bytes.slice(start..end))
    }
}
