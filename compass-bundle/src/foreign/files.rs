//! Reading of files that are not image archives.

use bytes::Bytes;
use compass_registry::{Digest, VerifiedBlob};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::io::AsyncReadExt as _;

use super::contents::BlobLocation;
use super::decompress::decompress;
use super::limits::Limits;
use super::reader::{Reader, byte_stream, reader_of};
use super::tar_entries::TarEntries;
use super::{ForeignFile, ForeignPackage};
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
        let found = self.find(&self.location_of(path)).await;
        match found.map_err(|error| self.read_error(error))? {
            Some(content) => self.content(file, content).await,
            None => Err(Error::NoSuchFile { path: path.to_owned() }),
        }
    }

    /// Opens a file that is not an image archive as a verified stream.
    pub(crate) fn open_file(&self, path: &str) -> Result<VerifiedBlob, Error> {
        let (file, what) = (self.find_file(path)?, format!("{path} in {}", self.name()));
        let descriptor = file_descriptor(file.size, file.digest);
        let (package, location, named) = (self.clone(), self.location_of(path), what.clone());
        let bytes = async move {
            let reader = package.open(&location, &named).await?;
            Ok(byte_stream(reader, named))
        };
        Ok(VerifiedBlob::new(what, descriptor, stream::once(bytes).try_flatten().boxed()))
    }

    fn location_of(&self, path: &str) -> BlobLocation {
        let entry = self.target_of(path).to_owned();
        BlobLocation { archive: None, entry, is_decompressed: false }
    }

    fn find_file(&self, path: &str) -> Result<&ForeignFile, Error> {
        let file = self.files().iter().find(|file| file.path == path);
        file.ok_or_else(|| Error::NoSuchFile { path: path.to_owned() })
    }

    /// Reads the entries of the package from its start.
    pub(crate) async fn entries(&self, limits: &Limits) -> Result<TarEntries, Error> {
        let tar = decompress(reader_of(self.source()), limits).await;
        let tar = tar.map_err(|error| self.read_error(error))?.into_tar(&self.name())?;
        TarEntries::new(tar, limits).await.map_err(|error| self.read_error(error))
    }

    /// Reads the content of a file into memory and verifies it.
    pub(crate) async fn content(
        &self,
        file: &ForeignFile,
        content: Reader,
    ) -> Result<Bytes, Error> {
        let damaged = |what: &str| Error::damaged(format!("{}: {} {what}", self.name(), file.path));
        if file.size > MAX_FILE {
            return Err(damaged("is too large to be read into memory"));
        }
        let mut bytes = Vec::new();
        let read = content.take(file.size + 1).read_to_end(&mut bytes).await;
        read.map_err(|error| self.read_error(error))?;
        if Digest::of(&bytes) != file.digest {
            return Err(damaged("has changed since the package was opened"));
        }
        Ok(bytes.into())
    }

    pub(crate) fn read_error(&self, error: std::io::Error) -> Error {
        Error::reading(&self.name(), error)
    }
}
