//! Content that a cache adds and removes.

use std::fs::File;
use std::sync::Arc;
use std::time::SystemTime;

use tempfile::TempPath;
use tokio::task::spawn_blocking;

use super::{DiskStorage, remove, write_atomic};
use crate::storage::blob_files::persist;
use crate::storage::{ChunkReader, Storage as _};
use crate::{Algorithm, Digest, Error, Repository};

impl DiskStorage {
    /// Lists all blobs and manifests with their sizes and the times of their last use.
    pub(crate) async fn content(&self) -> Result<Vec<(Digest, u64, SystemTime)>, Error> {
        let mut content = Vec::new();
        for algorithm in Algorithm::ALL {
            let directory = self.root.join("blobs").join(algorithm.name());
            for hex in super::entries(&directory).await?.unwrap_or_default() {
                let Ok(digest) = format!("{}:{hex}", algorithm.name()).parse() else { continue };
                let path = directory.join(&hex);
                let failed = |error| Error::io(format!("cannot read {}", path.display()), error);
                let metadata = tokio::fs::metadata(&path).await.map_err(failed)?;
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                content.push((digest, metadata.len(), used));
            }
        }
        Ok(content)
    }

    /// Records the use of a blob on the disk, in the background.
    pub(crate) fn touch(&self, digest: &Digest) {
        let path = self.blobs.path(digest);
        spawn_blocking(move || {
            let touched = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
            if let Err(error) = touched {
                tracing::debug!(%error, "cannot record the use of {}", path.display());
            }
        });
    }

    /// Removes a blob or manifest from all repositories.
    pub(crate) async fn remove_content(&self, digest: &Digest) -> Result<(), Error> {
        for repository in self.repositories().await? {
            remove(&self.link_path(&repository, digest)).await?;
            remove(&self.manifest_file(&repository, digest)).await?;
        }
        remove(&self.blobs.path(digest)).await.map(drop)
    }

    /// The reader of the files in this storage.
    pub(crate) fn reader(&self) -> ChunkReader {
        self.blobs.reader.clone()
    }

    /// Creates a file for a blob that arrives. It is removed unless it is adopted.
    pub(crate) async fn create_unfinished(&self) -> Result<(File, TempPath), Error> {
        let directory = self.root.join("uploads");
        let created = spawn_blocking(move || {
            let failed = |error| Error::io(format!("cannot write {}", directory.display()), error);
            std::fs::create_dir_all(&directory).map_err(failed)?;
            let file = tempfile::Builder::new().prefix(".upload-").tempfile_in(&directory);
            Ok(file.map_err(failed)?.into_parts())
        });
        created.await.map_err(|error| Error::io("cannot create a file", error.into()))?
    }

    /// Adds a complete file as a blob of a repository.
    pub(crate) async fn adopt(
        &self,
        repository: &Repository,
        digest: &Digest,
        file: &Arc<File>,
        unfinished: TempPath,
    ) -> Result<(), Error> {
        let file = Arc::clone(file);
        persist(self.blobs.path(digest), unfinished, move || file.sync_data()).await?;
        write_atomic(&self.link_path(repository, digest), b"").await
    }
}
