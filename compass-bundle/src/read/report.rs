//! The result of verifying a bundle.

use std::ops::Range;

use compass_registry::Digest;

use super::source::BundleSource;
use crate::Error;
use crate::format::document::FILE_NAME;

/// The result of verifying a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The size of the file in bytes.
    pub size: u64,
    /// The digest of the file; `None` if only the structure was verified.
    pub digest: Option<Digest>,
    /// Whether the `.sha256` beside the file matches; `None` if there is none or it was not compared.
    pub checksum: Option<bool>,
    /// The damage, in the order of the file. Configurations that do not match their layers follow.
    pub damages: Vec<Damage>,
}

/// Damage at one place of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Damage {
    /// The file in the bundle, if the damage is inside one.
    pub file: Option<String>,
    /// The reference of the image, if the damage is inside one.
    pub image: Option<String>,
    /// The digest of the blob, if the damage is inside one.
    pub blob: Option<Digest>,
    /// The bytes of the bundle.
    pub range: Range<u64>,
    /// A description of the damage.
    pub what: String,
}

impl VerifyReport {
    /// Compares the digest with the `.sha256` beside the file. A `.sha256` that does not name the file is
    /// reported as damage.
    ///
    /// # Errors
    /// If the `.sha256` cannot be read.
    pub(crate) async fn compare_checksum(
        &mut self,
        source: &dyn BundleSource,
    ) -> Result<(), Error> {
        let Some(digest) = self.digest else { return Ok(()) };
        match source.checksum().await {
            Ok(written) => self.checksum = written.map(|written| written == digest),
            Err(Error::InvalidChecksum { path, reason }) => {
                let what = format!("it has no SHA-256 of the bundle: {reason}");
                let (file, range) = (Some(path), 0..0);
                self.damages.push(Damage { file, image: None, blob: None, range, what });
                self.checksum = Some(false);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Returns whether no damage was found and the `.sha256`, if there is one, matches.
    pub fn is_ok(&self) -> bool {
        self.damages.is_empty() && self.checksum != Some(false)
    }
}

impl Damage {
    /// Describes the location.
    pub fn location(&self) -> String {
        let parts = [self.file.clone(), self.image.clone(), self.blob.map(|b| format!("blob {b}"))];
        let mut words: Vec<String> = parts.into_iter().flatten().collect();
        if words.is_empty() {
            words.push(format!("{FILE_NAME}, headers or framing"));
        }
        let words = words.join(": ");
        match self.range.end {
            // Damage in the `.sha256` has no range in the bundle.
            0 => words,
            end => format!("{words}, bytes {}-{}", self.range.start, end - 1),
        }
    }
}
