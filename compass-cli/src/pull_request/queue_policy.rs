//! The files that the policy of the base branch names, such as certificates of registries.

use std::path::{Path, PathBuf};

use compass_manifest::Policy;

use crate::error::{CliError, Result};
use crate::git::PrivateClone;
use crate::{fs, regular_file};

/// The maximum size of a certificate or key in bytes.
const READ_LIMIT: u64 = 1 << 20;

/// Copies the certificates and keys of registries into the private clone; returns the directory that
/// their paths are relative to.
///
/// A committed file is that of the base branch, so that a pull request cannot replace it. A file that
/// is not committed, such as a key, comes from the clone of the user.
pub(super) fn write_settings(
    policy: &Policy,
    clone: &PrivateClone,
    root: &Path,
) -> Result<PathBuf> {
    let directory = clone.scratch().join("settings");
    let hosts = policy.registries.hosts.values();
    let named = hosts.flat_map(|host| [&host.ca, &host.certificate, &host.key]);
    for name in named.flatten() {
        let path = Path::new(name);
        if path.is_absolute() {
            continue;
        }
        let is_plain =
            path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !is_plain {
            let message = format!("the policy names {name}, which is outside of the repository");
            return Err(CliError::usage(message).hint("use a path in the repository"));
        }
        let committed = clone.git.file_of(&clone.base, name, READ_LIMIT)?;
        let bytes = match committed {
            Some(bytes) => Some(bytes),
            None => regular_file::read(&root.join(path), READ_LIMIT).ok(),
        };
        // A file that is missing is reported when it is needed.
        if let Some(bytes) = bytes {
            let target = directory.join(path);
            let parent = target.parent().unwrap_or(&directory);
            std::fs::create_dir_all(parent).map_err(|error| fs::write_error(&target, &error))?;
            fs::write_private(&target, &bytes)?;
        }
    }
    Ok(directory)
}
