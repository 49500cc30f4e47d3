//! Removes small files that killed processes did not finish.

use std::path::{Path, PathBuf};

use super::super::blob_files::TEMP_PREFIX;
use crate::Error;

/// Removes unfinished files in `root` itself, and recursively in `repositories`.
pub(super) async fn remove(root: &Path, repositories: &Path) -> Result<(), Error> {
    let (directory, repositories) = (root.to_owned(), repositories.to_owned());
    let removing = tokio::task::spawn_blocking(move || {
        remove_unfinished(&directory, &mut Vec::new())?;
        let mut directories = vec![repositories];
        while let Some(directory) = directories.pop() {
            remove_unfinished(&directory, &mut directories)?;
        }
        Ok(())
    });
    let removed = removing.await.map_err(std::io::Error::from).flatten();
    removed.map_err(|error| Error::io(format!("cannot clean up {}", root.display()), error))
}

/// Removes unfinished files of a directory, and collects its subdirectories.
fn remove_unfinished(directory: &Path, directories: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            directories.push(entry.path());
        } else if entry.file_name().as_encoded_bytes().starts_with(TEMP_PREFIX.as_bytes()) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
