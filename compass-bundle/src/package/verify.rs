//! Verification of any package, also of one that cannot be opened.

use std::sync::Arc;

use compass_registry::Hasher;

use super::Package;
use super::detection::mismatch_range;
use crate::Error;
use crate::foreign::{ForeignPackage, is_bundle_document};
use crate::read::{BundleSource, Damage, VerifyOptions, VerifyReport, read_exact};

/// Bytes per read when a file is hashed.
const READ_SIZE: u64 = 4 << 20;

impl Package {
    /// Verifies the package. A foreign package was read completely when it was opened, so the
    /// result consists of its problems.
    ///
    /// # Errors
    /// If the file cannot be read. Damage is part of the result.
    pub async fn verify(&self, options: &VerifyOptions) -> Result<VerifyReport, Error> {
        match self {
            Self::Bundle(bundle) => bundle.verify(options).await,
            Self::Foreign(package) => verify_foreign(package).await,
        }
    }
}

async fn verify_foreign(package: &ForeignPackage) -> Result<VerifyReport, Error> {
    let (source, mut damages) = (package.source(), Vec::new());
    for problem in package.problems() {
        let is_altered =
            problem.image.is_none() && problem.file.as_deref().is_some_and(is_bundle_document);
        damages.push(Damage {
            range: match is_altered {
                true => mismatch_range(&source).await?,
                false => 0..package.size(),
            },
            file: problem.file,
            image: problem.image,
            blob: None,
            what: problem.what,
        });
    }
    let (size, digest) = (package.size(), package.digest());
    let mut verified = VerifyReport { size, digest, checksum: None, damages };
    verified.compare_checksum(&*source).await?;
    Ok(verified)
}

/// Verifies a file that could not be opened with `error`.
///
/// Returns `None` if the error does not concern the content, such as a failed read.
///
/// # Errors
/// If the file cannot be read.
pub async fn verify_unreadable(
    source: Arc<dyn BundleSource>,
    error: &Error,
    options: &VerifyOptions,
) -> Result<Option<VerifyReport>, Error> {
    let range = match error {
        Error::Damaged { range: Some(range), .. } => range.clone(),
        Error::Damaged { .. } | Error::NotABundle { .. } => mismatch_range(&source).await?,
        _ => return Ok(None),
    };
    let size = source.size();
    let damage = Damage { file: None, image: None, blob: None, range, what: error.to_string() };
    let mut verified = VerifyReport { size, digest: None, checksum: None, damages: vec![damage] };
    if !options.quick {
        let (mut hasher, mut position) = (Hasher::default(), 0);
        options.progress.add_total(size);
        while position < size {
            let next = size.min(position + READ_SIZE);
            let bytes = read_exact(&*source, position..next).await?;
            hasher.update(&bytes);
            position += bytes.len() as u64;
            options.progress.advance(bytes.len() as u64);
        }
        verified.digest = Some(hasher.finish());
        verified.compare_checksum(&*source).await?;
    }
    Ok(Some(verified))
}
