//! Writes rendered files to a directory.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::Release;
use crate::error::{CliError, Result};
use crate::fs as files;
use crate::site::manifests::RenderedFile;

/// Returns the directory of a release's files.
pub(super) fn root(directory: &Path, release: Release<'_>) -> PathBuf {
    directory.join(format!("{}-{}", release.kind, release.name))
}

/// Checks that the files can be written.
pub(super) fn check(
    directory: &Path,
    release: Release<'_>,
    rendered: &[RenderedFile],
) -> Result<()> {
    if fs::metadata(directory).is_ok_and(|metadata| !metadata.is_dir()) {
        return Err(CliError::usage(format!("{} is not a directory", directory.display())));
    }
    for file in rendered {
        path_of(directory, release, file)?;
    }
    let size = rendered.iter().map(|file| file.full.len() as u64).sum();
    files::require_creatable(&root(directory, release), size)
}

/// Writes the files below `<directory>/<kind>-<name>`. Files with secrets are readable by their owner only.
pub(super) fn write(
    directory: &Path,
    release: Release<'_>,
    rendered: &[RenderedFile],
) -> Result<()> {
    for file in rendered {
        let path = path_of(directory, release, file)?;
        let parent = path.parent().unwrap_or(directory);
        fs::create_dir_all(parent).map_err(|error| files::write_error(parent, &error))?;
        match file.secret_variables.is_empty() {
            true => files::write(&path, file.full.as_bytes())?,
            false => files::write_private(&path, file.full.as_bytes())?,
        }
    }
    Ok(())
}

/// Returns the path of a file. Names of packages of other tools, and of receipts, may be hostile.
fn path_of(directory: &Path, release: Release<'_>, file: &RenderedFile) -> Result<PathBuf> {
    let below = root(Path::new(""), release).join(&file.path);
    let is_allowed = !release.name.contains('/')
        && below.components().all(|part| matches!(part, Component::Normal(_)));
    match is_allowed {
        true => Ok(directory.join(below)),
        false => {
            Err(CliError::check_failed(format!("the path {} is not allowed", below.display())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_hostile_names_is_refused() {
        let file = |path: &str| RenderedFile {
            path: path.to_owned(),
            public: String::new(),
            full: String::new(),
            secret_variables: Vec::new(),
            secrets: Vec::new(),
        };
        let path = |name, file: &RenderedFile| {
            path_of(Path::new("out"), Release { kind: "plugin", name, version: "v1" }, file)
        };
        assert_eq!(path("gpu", &file("a/b.yaml")).unwrap(), Path::new("out/plugin-gpu/a/b.yaml"));
        for (name, hostile) in [
            ("gpu", "/etc/x"),
            ("gpu", "../x"),
            ("gpu", "a/../../x"),
            ("/../../x", "y"),
            ("a/b", "y"),
        ] {
            assert!(path(name, &file(hostile)).is_err(), "{name} {hostile}");
        }
    }
}
