//! Blobs as files named by their digests, in `blobs/<algorithm>` (OCI image layout specification,
//! § Blobs), which OCI layouts and registries on disk have in common.

use std::io::SeekFrom;
use std::ops::Range;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::Upload;
use crate::{Algorithm, ByteStream, Digest, Error, Hasher};

/// Bytes that are read at once.
const READ: usize = 256 << 10;

#[derive(Debug, Clone)]
pub(crate) struct BlobFiles {
    directory: PathBuf,
    unfinished: PathBuf,
}

struct FileUpload {
    file: File,
    path: TempPath,
    directory: PathBuf,
    offset: u64,
}

impl BlobFiles {
    /// The blobs in `root`'s directory `blobs`; what is not complete yet stands in `unfinished`, on the same file
    /// system.
    pub(crate) fn new(root: &Path, unfinished: PathBuf) -> Self {
        Self { directory: root.join("blobs"), unfinished }
    }

    pub(crate) async fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let path = self.path(digest);
        match tokio::fs::metadata(&path).await {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("cannot look at {}", path.display()), error)),
        }
    }

    pub(crate) async fn read(
        &self,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        let path = self.path(digest);
        let failed = move |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::NotFound { what: path.display().to_string() },
            _ => Error::io(format!("cannot read {}", path.display()), error),
        };
        let mut file = File::open(self.path(digest)).await.map_err(&failed)?;
        file.set_max_buf_size(READ);
        file.seek(SeekFrom::Start(range.start)).await.map_err(&failed)?;
        let part = file.take(range.end.saturating_sub(range.start));
        let chunks = stream::try_unfold((part, failed), async |(mut part, failed)| {
            let mut chunk = BytesMut::with_capacity(READ);
            match part.read_buf(&mut chunk).await {
                Ok(0) => Ok(None),
                Ok(_) => Ok(Some((chunk.freeze(), (part, failed)))),
                Err(error) => Err(failed(error)),
            }
        });
        Ok(chunks.boxed())
    }

    pub(crate) async fn begin(&self) -> Result<Box<dyn Upload>, Error> {
        let directory = &self.unfinished;
        tokio::fs::create_dir_all(directory)
            .await
            .map_err(|error| Error::io(format!("cannot create {}", directory.display()), error))?;
        let (file, path) = tempfile::Builder::new()
            .prefix(".upload-")
            .tempfile_in(&self.unfinished)
            .map_err(|error| {
                Error::io(format!("cannot create a file in {}", self.unfinished.display()), error)
            })?
            .into_parts();
        let mut file = File::from_std(file);
        file.set_max_buf_size(READ);
        let directory = self.directory.clone();
        Ok(Box::new(FileUpload { file, path, directory, offset: 0 }))
    }

    /// Removes what earlier processes did not complete. Nobody else may be writing.
    pub(crate) async fn remove_unfinished(&self) -> Result<(), Error> {
        retain_files(&self.unfinished, |_| false).await
    }

    /// Removes all blobs but those with these names. Nobody else may be writing.
    pub(crate) async fn retain(&self, keep: impl Fn(&str) -> bool) -> Result<(), Error> {
        for algorithm in Algorithm::ALL {
            retain_files(&self.directory.join(algorithm.name()), &keep).await?;
        }
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        path_in(&self.directory, digest)
    }
}

fn path_in(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join(digest.algorithm().name()).join(digest.hex())
}

#[async_trait]
impl Upload for FileUpload {
    async fn append(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.offset += bytes.len() as u64;
        let written = self.file.write_all(&bytes).await;
        written.map_err(|error| Error::io(format!("cannot write {}", self.path.display()), error))
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    async fn digest(&mut self, algorithm: Algorithm) -> Result<Digest, Error> {
        let failed = |error| Error::io(format!("cannot read {}", self.path.display()), error);
        self.file.flush().await.map_err(failed)?;
        let mut file = File::open(&self.path).await.map_err(failed)?;
        let (mut hasher, mut chunk) = (Hasher::new(algorithm), BytesMut::with_capacity(READ));
        while file.read_buf(&mut chunk).await.map_err(failed)? > 0 {
            hasher.update(&chunk);
            chunk.clear();
        }
        Ok(hasher.finish())
    }

    async fn commit(mut self: Box<Self>, digest: &Digest) -> Result<(), Error> {
        let path = path_in(&self.directory, digest);
        let failed = |error| Error::io(format!("cannot write {}", path.display()), error);
        if let Some(directory) = path.parent() {
            tokio::fs::create_dir_all(directory).await.map_err(failed)?;
        }
        self.file.flush().await.map_err(failed)?;
        self.file.sync_data().await.map_err(failed)?;
        self.path.persist(&path).map_err(|error| failed(error.error))
    }
}

async fn retain_files(directory: &Path, keep: impl Fn(&str) -> bool) -> Result<(), Error> {
    let failed = |error| Error::io(format!("cannot tidy {}", directory.display()), error);
    let mut entries = match tokio::fs::read_dir(directory).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        if !entry.file_name().to_str().is_some_and(&keep) {
            tokio::fs::remove_file(entry.path()).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// Writes a small file so that it is there whole or not at all.
pub(crate) async fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error| Error::io(format!("cannot write {}", path.display()), error);
    let directory = path.parent().unwrap_or(Path::new("."));
    tokio::fs::create_dir_all(directory).await.map_err(failed)?;
    let temporary = tempfile::Builder::new().prefix(".part-").tempfile_in(directory);
    let (file, temporary) = temporary.map_err(failed)?.into_parts();
    let mut file = File::from_std(file);
    file.write_all(bytes).await.map_err(failed)?;
    file.flush().await.map_err(failed)?;
    file.sync_data().await.map_err(failed)?;
    temporary.persist(path).map_err(|error| failed(error.error))
}

/// Reads a small file, where it is there.
pub(crate) async fn read_whole(path: &Path) -> Result<Option<Bytes>, Error> {
    match tokio::fs::read(path).await {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("cannot read {}", path.display()), error)),
    }
}
