//! Removes duplicate transfers, and finds images that would get the same tag.

use std::collections::{HashMap, HashSet};

use super::ImageTransfer;
use crate::error::{CliError, Result};
use crate::repository::Repository;

/// The transfers of the images of targets between the registries of the policy.
pub(crate) fn transfers_of(
    repository: &Repository,
    targets: &[String],
) -> Result<Vec<ImageTransfer>> {
    distinct(repository.target_images(targets)?.iter().map(ImageTransfer::of).collect())
}

/// Removes duplicates, and checks that no two images would get the same tag.
pub(crate) fn distinct(transfers: Vec<ImageTransfer>) -> Result<Vec<ImageTransfer>> {
    let transfers = dedup(transfers);
    check_tag_collisions(&transfers)?;
    Ok(transfers)
}

/// Removes duplicates; an omitted tag is the same as `latest`.
fn dedup(transfers: Vec<ImageTransfer>) -> Vec<ImageTransfer> {
    let mut seen = HashSet::new();
    let explicit = transfers.into_iter().map(|ImageTransfer { source, release }| ImageTransfer {
        source: source.with_default_tag(),
        release: release.with_default_tag(),
    });
    explicit.filter(|transfer| seen.insert(transfer.clone())).collect()
}

/// Returns an error if two images would get the same tag.
fn check_tag_collisions(transfers: &[ImageTransfer]) -> Result<()> {
    let mut taken = HashMap::new();
    for ImageTransfer { source, release } in transfers {
        if release.tag().is_none() {
            continue;
        }
        if let Some(other) = taken.insert(release, source) {
            let message = format!("{other} and {source} would both become {release}");
            let hint = "omit the project of `--to`, so that the images keep their own";
            return Err(CliError::usage(message).hint(hint));
        }
    }
    Ok(())
}
