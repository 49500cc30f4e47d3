mod cached_files;
mod stale_files;

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OnceCell;

use super::blob_files::{BlobFiles, CachePolicy, TEMP_PREFIX, read_optional, write_atomic};
use super::{Storage, Upload};
use crate::{Algorithm, ByteStream, Digest, Error, RawManifest, Repository, Tag, TagOrDigest};

/// The file that marks a directory as a registry.
const MARKER_FILE: &str = ".compass-registry";

/// The lock file of the process that serves the directory.
const LOCK: &str = ".lock";

/// The content of the marker file, which explains the directory to users.
const MARKER_TEXT: &str =
    "The registry of `compass serve`; blobs that no repository has are removed.\n";

/// Stores everything in a directory.
///
/// ```text
/// blobs/<algorithm>/<hex>                              blobs and manifests, each once
/// repositories/<repository>/_blobs/<hex>               a blob of the repository
/// repositories/<repository>/_manifests/<hex>           the media type of a manifest
/// repositories/<repository>/_referrers/<hex>/<hex>     a subject and its referrer
/// repositories/<repository>/_tags/<tag>                the digest that a tag points at
/// uploads/                                             unfinished uploads
/// .lock                                                locked by the serving process
/// .compass-registry                                    marks the directory as a registry
/// ```
/// No element of a repository name starts with `_`, so the names cannot collide. Files are written
/// atomically.
#[derive(Debug, Clone)]
pub struct DiskStorage {
    root: PathBuf,
    blobs: BlobFiles,
    marked: Arc<OnceCell<()>>,
    /// The lock on the directory, held until the last clone is dropped.
    lock: Option<Arc<std::fs::File>>,
}

/// An upload that adds its blob to a repository on commit.
struct LinkedUpload {
    upload: Box<dyn Upload>,
    storage: DiskStorage,
    repository: Repository,
}

impl DiskStorage {
    /// Opens a directory, which is created by the first write.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let blobs = BlobFiles::new(&root, root.join("uploads"), CachePolicy::Keep);
        Self { blobs, root, marked: Arc::default(), lock: None }
    }

    /// Opens a directory for this process alone, and cleans it up. Removes abandoned uploads of
    /// earlier processes, and blobs that no repository has any more.
    ///
    /// # Errors
    /// [`Error::Io`] if another process serves the directory, or if it cannot be read;
    /// [`Error::InvalidContent`] if it is not empty and was not created by a registry of this kind.
    pub async fn open_exclusive(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let mut storage = Self::new(root);
        storage.check_ownership()?;
        let path = storage.root.join(LOCK);
        let failed = |error| Error::io(format!("cannot lock {}", path.display()), error);
        tokio::fs::create_dir_all(&storage.root).await.map_err(failed)?;
        let lock = std::fs::File::create(&path).map_err(failed)?;
        lock.try_lock().map_err(|error| {
            failed(match error {
                std::fs::TryLockError::Error(error) => error,
                std::fs::TryLockError::WouldBlock => std::io::Error::new(
                    std::io::ErrorKind::ResourceBusy,
                    "another process is serving this directory",
                ),
            })
        })?;
        storage.lock = Some(Arc::new(lock));
        storage.write_marker().await?;
        storage.blobs.remove_unfinished().await?;
        stale_files::remove(&storage.root, &storage.root.join("repositories")).await?;
        storage.remove_unused().await?;
        Ok(storage)
    }

    /// Rejects directories with other content, which the cleanup would delete.
    fn check_ownership(&self) -> Result<(), Error> {
        let what = self.root.display().to_string();
        let failed = |error| Error::io(format!("cannot read {what}"), error);
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let mut others = false;
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            if name == MARKER_FILE {
                return Ok(());
            }
            // The root of a file system may contain `lost+found`, and an interrupted first start
            // leaves a lock and an incomplete marker file.
            let is_ours =
                name == LOCK || name.as_encoded_bytes().starts_with(TEMP_PREFIX.as_bytes());
            others |= name != "lost+found" && !is_ours;
        }
        match others {
            false => Ok(()),
            true => {
                let reason = "it is not empty and was not created by `compass serve`: choose an \
                              empty directory"
                    .to_owned();
                Err(Error::InvalidContent { what, reason })
            }
        }
    }

    /// Writes the marker before anything else is stored.
    async fn write_marker(&self) -> Result<(), Error> {
        let path = self.root.join(MARKER_FILE);
        let write = || write_atomic(&path, MARKER_TEXT.as_bytes());
        self.marked.get_or_try_init(write).await.copied()
    }

    /// Removes the blobs that no repository has.
    async fn remove_unused(&self) -> Result<(), Error> {
        let mut used = HashSet::new();
        for repository in self.repositories().await? {
            for kind in ["_blobs", "_manifests"] {
                let names = entries(&self.repository(&repository).join(kind)).await?;
                used.extend(names.unwrap_or_default());
            }
        }
        self.blobs.retain(|name| used.contains(name)).await
    }

    fn link_path(&self, repository: &Repository, digest: &Digest) -> PathBuf {
        self.repository(repository).join("_blobs").join(digest.hex())
    }

    fn referrers_of(&self, repository: &Repository, subject: &Digest) -> PathBuf {
        self.repository(repository).join("_referrers").join(subject.hex())
    }

    async fn has_link(&self, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
        exists(&self.link_path(repository, digest)).await
    }

    fn repository(&self, repository: &Repository) -> PathBuf {
        self.root.join("repositories").join(repository.as_str())
    }

    fn manifest_file(&self, repository: &Repository, digest: &Digest) -> PathBuf {
        self.repository(repository).join("_manifests").join(digest.hex())
    }

    fn tag_file(&self, repository: &Repository, tag: &Tag) -> PathBuf {
        self.repository(repository).join("_tags").join(tag.as_str())
    }

    async fn resolve(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error> {
        match reference {
            TagOrDigest::Digest(digest) => Ok(Some(*digest)),
            TagOrDigest::Tag(tag) => {
                let digest = read_optional(&self.tag_file(repository, tag)).await?;
                digest.map(|text| String::from_utf8_lossy(&text).parse()).transpose()
            }
        }
    }

    async fn read_all(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        use futures_util::TryStreamExt as _;
        let chunks = self.blobs.read(digest, 0..u64::MAX).await?;
        let chunks: Vec<_> = chunks.try_collect().await?;
        Ok(chunks.concat())
    }
}

#[async_trait]
impl Storage for DiskStorage {
    async fn blob_size(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        match self.has_link(repository, digest).await? {
            true => self.blobs.size(digest).await,
            false => Ok(None),
        }
    }

    async fn read_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        match self.has_link(repository, digest).await? {
            true => self.blobs.read(digest, range).await,
            false => Err(Error::NotFound { what: format!("{repository}@{digest}") }),
        }
    }

    async fn begin_upload(&self, repository: &Repository) -> Result<Box<dyn Upload>, Error> {
        self.write_marker().await?;
        let upload = self.blobs.begin_upload().await?;
        let (storage, repository) = (self.clone(), repository.clone());
        Ok(Box::new(LinkedUpload { upload, storage, repository }))
    }

    async fn mount_blob(
        &self,
        from: Option<&Repository>,
        to: &Repository,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let there = match from {
            Some(from) => self.has_link(from, digest).await?,
            None => true,
        };
        if !there || self.blobs.size(digest).await?.is_none() {
            return Ok(false);
        }
        write_atomic(&self.link_path(to, digest), b"").await?;
        Ok(true)
    }

    async fn delete_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
        remove(&self.link_path(repository, digest)).await
    }

    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, Error> {
        let Some(digest) = self.resolve(repository, reference).await? else { return Ok(None) };
        let Some(media_type) = read_optional(&self.manifest_file(repository, &digest)).await?
        else {
            return Ok(None);
        };
        let media_type = String::from_utf8_lossy(&media_type).into_owned();
        let bytes = self.read_all(&digest).await?;
        Ok(Some(RawManifest::with_algorithm(digest.algorithm(), media_type, bytes)))
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error> {
        self.write_marker().await?;
        let digest = manifest.digest();
        let mut upload = self.blobs.begin_upload().await?;
        upload.append(manifest.bytes().clone()).await?;
        upload.commit(&digest).await?;
        let media_type = manifest.descriptor().media_type.as_bytes();
        write_atomic(&self.manifest_file(repository, &digest), media_type).await?;
        if let Some(subject) = manifest.subject() {
            let mark = self.referrers_of(repository, &subject).join(digest.hex());
            write_atomic(&mark, b"").await?;
        }
        match tag {
            Some(tag) => {
                write_atomic(&self.tag_file(repository, tag), digest.to_string().as_bytes()).await
            }
            None => Ok(()),
        }
    }

    async fn delete_manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<bool, Error> {
        let digest = match reference {
            TagOrDigest::Tag(tag) => return remove(&self.tag_file(repository, tag)).await,
            TagOrDigest::Digest(digest) => digest,
        };
        for tag in self.tags(repository).await?.unwrap_or_default() {
            if self.resolve(repository, &tag.clone().into()).await? == Some(*digest) {
                remove(&self.tag_file(repository, &tag)).await?;
            }
        }
        let subject = Storage::manifest(self, repository, reference).await?;
        if let Some(subject) = subject.and_then(|manifest| manifest.subject()) {
            remove(&self.referrers_of(repository, &subject).join(digest.hex())).await?;
        }
        remove(&self.manifest_file(repository, digest)).await
    }

    async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Digest>, Error> {
        let names = entries(&self.referrers_of(repository, subject)).await?.unwrap_or_default();
        let mut digests: Vec<Digest> =
            names.iter().filter_map(|hex| Digest::from_hex(hex)).collect();
        digests.sort();
        Ok(digests)
    }

    async fn tags(&self, repository: &Repository) -> Result<Option<Vec<Tag>>, Error> {
        let directory = self.repository(repository);
        let known = exists(&directory.join("_manifests")).await?;
        if !known && !exists(&directory.join("_blobs")).await? {
            return Ok(None);
        }
        let names = entries(&directory.join("_tags")).await?.unwrap_or_default();
        let mut tags: Vec<Tag> = names.iter().filter_map(|name| name.parse().ok()).collect();
        tags.sort();
        Ok(Some(tags))
    }

    async fn repositories(&self) -> Result<Vec<Repository>, Error> {
        let root = self.root.join("repositories");
        let mut found = Vec::new();
        let mut unread = vec![String::new()];
        while let Some(path) = unread.pop() {
            for name in entries(&root.join(&path)).await?.unwrap_or_default() {
                let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                match name.starts_with('_') {
                    true => found.extend(path.parse::<Repository>().ok()),
                    false => unread.push(below),
                }
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }
}

#[async_trait]
impl Upload for LinkedUpload {
    async fn append(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.upload.append(bytes).await
    }

    fn offset(&self) -> u64 {
        self.upload.offset()
    }

    async fn digest(&mut self, algorithm: Algorithm) -> Result<Digest, Error> {
        self.upload.digest(algorithm).await
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<(), Error> {
        self.upload.commit(digest).await?;
        write_atomic(&self.storage.link_path(&self.repository, digest), b"").await
    }
}

/// Lists the names in a directory; `None` if it does not exist. Hidden files are omitted, because
/// they are unfinished.
async fn entries(directory: &Path) -> Result<Option<Vec<String>>, Error> {
    let failed = |error| Error::io(format!("cannot read {}", directory.display()), error);
    let mut entries = match tokio::fs::read_dir(directory).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        let name = entry.file_name();
        names.extend(name.to_str().filter(|name| !name.starts_with('.')).map(str::to_owned));
    }
    Ok(Some(names))
}

async fn exists(path: &Path) -> Result<bool, Error> {
    let found = tokio::fs::try_exists(path).await;
    found.map_err(|error| Error::io(format!("cannot access {}", path.display()), error))
}

async fn remove(path: &Path) -> Result<bool, Error> {
    match tokio::fs::remove_file(path).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(format!("cannot remove {}", path.display()), error)),
    }
}
