//! Writes rendered files to a directory.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
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
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o777)
            .create(parent)
            .map_err(|error| files::write_error(parent, &error))?;
        match file.secret_variables.is_empty() {
            true => files::write(&path, file.full.as_bytes())?,
            false => write_secret(&path, &file.full)?,
        }
    }
    Ok(())
}

fn write_secret(path: &Path, text: &str) -> Result<()> {
    let write = || {
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".").suffix(".part").permissions(fs::Permissions::from_mode(0o600));
        let file = builder.tempfile_in(directory)?;
        fs::write(file.path(), text)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(|error| files::write_error(path, &error))
}
