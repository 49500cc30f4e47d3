//! The images of targets, as references in the source and the release registry.

use std::collections::BTreeSet;

use compass_manifest::escape::{escape, quote};
use compass_manifest::inventory::{self, FileImage};
use compass_registry::Reference;

use super::Repository;
use crate::error::{CliError, Result};

/// An image of a target.
#[derive(Debug, Clone)]
pub(crate) struct TargetImage {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) path: String,
    /// The reference as written in the file.
    pub(crate) written: String,
    pub(crate) release: Reference,
    pub(crate) source: Reference,
}

impl Repository {
    /// The images of all plugins, hotfixes and addons, and the problems of those that cannot be listed.
    pub(crate) fn all_images(&self) -> (Vec<TargetImage>, Vec<String>) {
        let (mut images, mut problems) = (Vec::new(), Vec::new());
        let mut reported = BTreeSet::new();
        for image in inventory::images(self.release()) {
            let location = format!("{}:{}", image.file, image.line);
            match self.resolve_image(image) {
                Ok(image) => images.push(image),
                Err(error) => {
                    problems.push(error.message);
                    reported.insert(location);
                }
            }
        }
        problems.extend(self.hidden_images(&reported));
        (images, problems)
    }

    /// Resolves images, and removes duplicates.
    pub(crate) fn distinct_images(&self, images: Vec<FileImage>) -> Result<Vec<TargetImage>> {
        let mut seen = BTreeSet::new();
        let is_new = |image: &FileImage| {
            image.image_use.image.as_ref().map_or(true, |image| seen.insert(image.list_entry()))
        };
        self.resolve_images(images.into_iter().filter(is_new))
    }

    /// Resolves images.
    ///
    /// # Errors
    /// Names every invalid reference.
    pub(crate) fn resolve_images(
        &self,
        images: impl IntoIterator<Item = FileImage>,
    ) -> Result<Vec<TargetImage>> {
        let (mut resolved, mut problems) = (Vec::new(), Vec::new());
        for image in images {
            match self.resolve_image(image) {
                Ok(image) => resolved.push(image),
                Err(error) => problems.push(error.message),
            }
        }
        match problems.is_empty() {
            true => Ok(resolved),
            false => Err(CliError::check_failed(problems.join("\n")).with_check_hint()),
        }
    }

    fn resolve_image(&self, image: FileImage) -> Result<TargetImage> {
        let invalid = |reason: &dyn std::fmt::Display| {
            let location = format!("{}:{}", escape(&image.file), image.line);
            let written = quote(&image.image_use.written);
            CliError::check_failed(format!("{location}: {written} is not an image: {reason}"))
        };
        let used = image.image_use.image.as_ref().map_err(|reason| invalid(reason))?;
        let parse = |reference: String| -> Result<Reference> {
            reference.parse().map_err(|error: compass_registry::Error| invalid(&error))
        };
        Ok(TargetImage {
            release: parse(used.release_reference(&self.policy))?,
            source: parse(used.source_reference(&self.policy))?,
            file: image.file.to_string(),
            line: image.line,
            path: image.image_use.path.to_string(),
            written: image.image_use.written,
        })
    }
}
