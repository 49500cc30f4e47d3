//! A copy of the index, for commands that write it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::Git;
use crate::error::{CliError, Result};
use crate::temporary::TemporaryDirectory;

/// A copy of the index in a temporary directory, where git can also create its lock file.
#[derive(Debug)]
pub(super) struct IndexCopy(TemporaryDirectory);

impl IndexCopy {
    /// Copies `index`. A missing index, which git treats as empty, is not copied.
    fn new(index: &Path, directory: TemporaryDirectory) -> io::Result<Self> {
        let copy = Self(directory);
        let mut source = match File::open(index) {
            Ok(source) => source,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(copy),
            Err(error) => return Err(error),
        };
        let mut target = File::create(copy.path())?;
        io::copy(&mut source, &mut target)?;
        // Git compares the contents of files that are not older than the index, so keep its time.
        target.set_modified(source.metadata()?.modified()?)?;
        Ok(copy)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("index")
    }
}

impl Git {
    /// The path of the copy of the index.
    pub(super) fn index_copy(&self) -> Result<PathBuf> {
        if let Some(copy) = self.index_copy.get() {
            return Ok(copy.path());
        }
        let index = self.top_level.join(&self.index);
        let directory = TemporaryDirectory::new("compass-index-")?;
        let copy = IndexCopy::new(&index, directory).map_err(|error| {
            CliError::external(&error).context(format!(
                "cannot copy {} to {}",
                index.display(),
                std::env::temp_dir().display()
            ))
        })?;
        Ok(self.index_copy.get_or_init(|| copy).path())
    }
}
