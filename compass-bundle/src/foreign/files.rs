//! Reading of files that are not image archives.

use bytes::Bytes;
use compass_registry::{Digest, VerifiedBlob};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::io::AsyncReadExt as _;

use super::contents::BlobLocation;
use super::decompress::{Decompressed, decompress};
use super::limits::Limits;
use super::reader::{byte_stream, reader_of};
use super::tar_entries::{TarEntries, TarEntry};
use super::{ForeignFile, ForeignPackage, no_archive};
use crate::Error;
use crate::read::{MAX_FILE, file_descriptor};

impl ForeignPackage {
    /// Reads a file that is not an image archive.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`]; [`Error::Damaged`] if it is too large, or has changed since the
    /// package was opened.
    pub async fn file(&self, path: &str) -> Result<Bytes, Error> {
        let file = self.find_file(path)?;
        if let Some(yaml) = &file.yaml {
            return Ok(yaml.clone());
        }
        let mut entries = self.entries().await?;
        while let Some(entry) = entries.next().await.map_err(|error| self.read_error(error))? {
            if entry.is_file() && entry.path.text == self.target_of(path) {
                return self.content(file, entry).await;
            }
        }
        Err(Error::NoSuchFile { path: path.to_owned() })
    }

    /// Opens a file that is not an image archive as a verified stream.
    pub(crate) fn open_file(&self, path: &str) -> Result<VerifiedBlob, Error> {
        let (file, what) = (self.find_file(path)?, format!("{path} in {}", self.name()));
        let descriptor = file_descriptor(file.size, file.digest);
        let entry = self.target_of(path).to_owned();
        let location = BlobLocation { archive: None, entry, is_decompressed: false };
        let (package, named) = (self.clone(), what.clone());
        let bytes = async move {
            let reader = package.open(&location, &named).await?;
            Ok(byte_stream(reader, named))
        };
        Ok(VerifiedBlob::new(what, descriptor, stream::once(bytes).try_flatten().boxed()))
    }

    fn find_file(&self, path: &str) -> Result<&ForeignFile, Error> {
        let file = self.files().iter().find(|file| file.path == path);
        file.ok_or_else(|| Error::NoSuchFile { path: path.to_owned() })
    }

    pub(crate) async fn entries(&self) -> Result<TarEntries, Error> {
        let (limits, source) = (Limits::default(), reader_of(self.source()));
        match decompress(source, &limits).await.map_err(|error| self.read_error(error))? {
            Decompressed::Tar(tar) => {
                TarEntries::new(tar, &limits).await.map_err(|error| self.read_error(error))
            }
            Decompressed::Other { unsupported } => Err(no_archive(&self.name(), unsupported)),
        }
    }

    pub(crate) async fn content(
        &self,
        file: &ForeignFile,
        entry: TarEntry,
    ) -> Result<Bytes, Error> {
        let damaged = |what: &str| Error::damaged(format!("{}: {} {what}", self.name(), file.path));
        if file.size > MAX_FILE {
            return Err(damaged("is too large to be read into memory"));
        }
        let mut bytes = Vec::new();
        let mut content = entry.into_reader().take(file.size + 1);
        content.read_to_end(&mut bytes).await.map_err(|error| self.read_error(error))?;
        if Digest::of(&bytes) != file.digest {
            return Err(damaged("has changed since the package was opened"));
        }
        Ok(bytes.into())
    }

    pub(crate) fn read_error(&self, error: std::io::Error) -> Error {
        Error::reading(&self.name(), error)
    }
}
