//! Extraction of the files that are not image archives.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::{write_below, write_file_below};
use crate::foreign::limits::Limits;
use crate::foreign::{ForeignFile, ForeignPackage};
use crate::read::Bundle;
use crate::{Error, Package};

impl Package {
    /// Writes all files that are not image archives below a directory. Returns their paths.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if one of them exists; as [`Package::file`].
    pub async fn write_files(&self, directory: &Path) -> Result<Vec<PathBuf>, Error> {
        match self {
            Self::Bundle(bundle) => write_bundled(bundle, directory).await,
            Self::Foreign(package) => write_foreign(package, directory).await,
        }
    }
}

async fn write_bundled(bundle: &Bundle, directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for file in bundle.files() {
        write_file_below(directory, &file.path, &bundle.file(&file.path).await?, file.mode)?;
        paths.push(directory.join(&file.path));
    }
    Ok(paths)
}

/// Reads the package once for all files.
async fn write_foreign(package: &ForeignPackage, directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut named: HashMap<&str, Vec<&ForeignFile>> = HashMap::new();
    for file in package.files() {
        named.entry(package.target_of(&file.path)).or_default().push(file);
    }
    let mut paths = Vec::new();
    let mut entries = package.entries(&Limits::default()).await?;
    while let Some(entry) = entries.next().await.map_err(|error| package.read_error(error))? {
        let files = named.get(entry.path.text.as_str()).filter(|_| entry.is_file());
        let Some(files) = files.filter(|files| !files.is_empty()) else { continue };
        if let Some(reason) = entry.unsafe_reason() {
            let path = entry.path.text.escape_debug();
            return Err(Error::damaged(format!("{}: `{path}` {reason}", package.name())));
        }
        let (path, mode) = (entry.path.clone(), entry.mode);
        let bytes = package.content(files[0], entry.into_reader()).await?;
        for file in files {
            // A file with another path is a link to this entry.
            let own = if file.path == path.text { &path.bytes } else { file.path.as_bytes() };
            let own = Path::new(OsStr::from_bytes(own));
            write_below(directory, own, &bytes, mode)?;
            paths.push(directory.join(own));
        }
    }
    Ok(paths)
}
