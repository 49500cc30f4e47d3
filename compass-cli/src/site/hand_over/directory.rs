//! Writes rendered files to a directory.

use std::fs;
use std::path::{Component, Path};

use super::Release;
use crate::error::{CliError, Result};
use crate::fs as files;
use crate::site::manifests::RenderedFile;

/// Checks that the directory can be created or written to.
pub(super) fn check(directory: &Path) -> Result<()> {
    match fs::metadata(directory) {
        Ok(metadata) if !metadata.is_dir() => {
            Err(CliError::usage(format!("{} is not a directory", directory.display())))
        }
        Ok(_) => files::require_writable(&directory.join("x")),
        Err(_) => Ok(()),
    }
}

/// Writes the files below `<directory>/<kind>-<name>`. Files with secrets are readable by their owner only.
pub(super) fn write(
    directory: &Path,
    release: Release<'_>,
    rendered: &[RenderedFile],
) -> Result<()> {
    let root = directory.join(format!("{}-{}", release.kind, release.name));
    for file in rendered {
        let relative = Path::new(&file.path);
        if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(CliError::check_failed(format!("the path {} is not allowed", file.path)));
        }
        let path = root.join(relative);
        let parent = path.parent().unwrap_or(&root);
        fs::create_dir_all(parent).map_err(|error| files::write_error(parent, &error))?;
        match file.secret_variables.is_empty() {
            true => files::write(&path, file.full.as_bytes())?,
            false => files::write_private(&path, file.full.as_bytes())?,
        }
    }
    Ok(())
}
