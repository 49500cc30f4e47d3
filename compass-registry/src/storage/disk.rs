use std::ops::Range;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::blob_files::{BlobFiles, read_whole, write_whole};
use super::{Storage, Upload};
use crate::{ByteStream, Digest, Error, Locator, RawManifest, Repository, Tag};

/// Keeps everything in a directory.
///
/// ```text
/// blobs/sha256/<hex>                        blobs and manifests
/// repositories/<repository>/_manifests/<hex>   media type of a manifest
/// repositories/<repository>/_tags/<tag>        digest that a tag points at
/// uploads/                                  what is not complete yet
/// ```
/// No element of a repository's name begins with `_`, so nothing collides. A file appears under its
/// name whole or not at all.
#[derive(Debug, Clone)]
pub struct DiskStorage {
    root: PathBuf,
    blobs: BlobFiles,
}

impl DiskStorage {
    /// Opens a directory, which is created when something is written.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self { blobs: BlobFiles::new(&root, root.join("uploads")), root }
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
        locator: &Locator,
    ) -> Result<Option<Digest>, Error> {
        match locator {
            Locator::Digest(digest) => Ok(Some(*digest)),
            Locator::Tag(tag) => {
                let digest = read_whole(&self.tag_file(repository, tag)).await?;
                digest.map(|text| String::from_utf8_lossy(&text).parse()).transpose()
            }
        }
    }

    async fn content(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        use futures_util::TryStreamExt as _;
        let chunks = self.blobs.read(digest, 0..u64::MAX).await?;
        chunks.try_fold(Vec::new(), async |all, chunk| Ok([&all[..], &chunk[..]].concat())).await
    }
}

#[async_trait]
impl Storage for DiskStorage {
    async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        self.blobs.size(digest).await
    }

    async fn read_blob(&self, digest: &Digest, range: Range<u64>) -> Result<ByteStream, Error> {
        self.blobs.read(digest, range).await
    }

    async fn begin_upload(&self) -> Result<Box<dyn Upload>, Error> {
        self.blobs.begin().await
    }

    async fn manifest(
        &self,
        repository: &Repository,
        locator: &Locator,
    ) -> Result<Option<RawManifest>, Error> {
        let Some(digest) = self.resolve(repository, locator).await? else { return Ok(None) };
        let Some(media_type) = read_whole(&self.manifest_file(repository, &digest)).await? else {
            return Ok(None);
        };
        let media_type = String::from_utf8_lossy(&media_type).into_owned();
        Ok(Some(RawManifest::new(media_type, self.content(&digest).await?)))
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error> {
        let digest = manifest.digest();
        let mut upload = self.blobs.begin().await?;
        upload.append(manifest.bytes().clone()).await?;
        upload.commit(&digest).await?;
        let media_type = manifest.descriptor().media_type.as_bytes();
        write_whole(&self.manifest_file(repository, &digest), media_type).await?;
        match tag {
            Some(tag) => {
                write_whole(&self.tag_file(repository, tag), digest.to_string().as_bytes()).await
            }
            None => Ok(()),
        }
    }

    async fn delete_manifest(
        &self,
        repository: &Repository,
        locator: &Locator,
    ) -> Result<bool, Error> {
        let digest = match locator {
            Locator::Tag(tag) => return remove(&self.tag_file(repository, tag)).await,
            Locator::Digest(digest) => digest,
        };
        for tag in self.tags(repository).await?.unwrap_or_default() {
            if self.resolve(repository, &tag.clone().into()).await? == Some(*digest) {
                remove(&self.tag_file(repository, &tag)).await?;
            }
        }
        remove(&self.manifest_file(repository, digest)).await
    }

    async fn tags(&self, repository: &Repository) -> Result<Option<Vec<Tag>>, Error> {
        let directory = self.repository(repository);
        if entries(&directory.join("_manifests")).await?.is_none() {
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
                match name.as_str() {
                    "_manifests" => found.extend(path.parse::<Repository>().ok()),
                    "_tags" => {}
                    _ => unread.push(below),
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

/// The names in a directory, where it is there. Names that begin with a dot are not complete yet.
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

async fn remove(path: &Path) -> Result<bool, Error> {
    match tokio::fs::remove_file(path).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(format!("cannot remove {}", path.display()), error)),
    }
}
