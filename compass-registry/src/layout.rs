//! The OCI image layout: a directory of blobs with an `index.json` (OCI image specification, "Image
//! Layout").

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::ops::Range;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

use crate::image_manifest::{media_type, sniff_media_type};
use crate::storage::{
    BlobFiles, CachePolicy, read_optional, remove_temporary_files, store_blob, write_atomic,
};
use crate::{
    ByteStream, Descriptor, Digest, Error, ImageSink, ImageSource, RawManifest, Repository, Tag,
    TagOrDigest, VerifiedBlob,
};

/// The annotation that names an image in `index.json`.
const NAME: &str = oci_spec::image::ANNOTATION_REF_NAME;

/// The maximum size of `index.json` in bytes. An entry has a few hundred bytes.
const MAX_INDEX_BYTES: u64 = 16 << 20;

/// An OCI layout directory.
///
/// Images are written with the name `REPOSITORY:TAG`, and read by that name or by the tag alone,
/// which is the name that other tools write.
#[derive(Debug)]
pub struct OciLayout {
    root: PathBuf,
    blobs: BlobFiles,
    writing: Mutex<()>,
    /// A shared lock, held while this process may write blobs.
    claim: OnceCell<Option<File>>,
}

/// An entry of `index.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct LayoutImage {
    /// The image manifest or index.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// The annotations, of which one or two name the image.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

impl OciLayout {
    /// Opens a directory, which is created by the first write.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self {
            blobs: BlobFiles::new(&root, root.join("blobs"), CachePolicy::Bypass),
            root,
            writing: Mutex::default(),
            claim: OnceCell::new(),
        }
    }

    /// Lists the images in `index.json`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the directory has no `index.json`; [`Error::InvalidContent`] if it is
    /// malformed.
    pub async fn images(&self) -> Result<Vec<LayoutImage>, Error> {
        let path = self.root.join("index.json");
        let what = path.display().to_string();
        let size = tokio::fs::metadata(&path).await.map_or(0, |metadata| metadata.len());
        if size > MAX_INDEX_BYTES {
            let reason = format!("{size} bytes exceed the limit of an index");
            return Err(Error::InvalidContent { what, reason });
        }
        let Some(bytes) = read_optional(&path).await? else { return Err(Error::NotFound { what }) };
        let index: Result<LayoutIndex, _> = serde_json::from_slice(&bytes);
        let index =
            index.map_err(|error| Error::InvalidContent { what, reason: error.to_string() })?;
        Ok(index.manifests)
    }

    /// Returns the size of a blob in bytes, or `None` if the layout does not contain it.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be read.
    pub async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        self.blobs.size(digest).await
    }

    /// Prepares for writing: creates the blob directory and locks it.
    async fn prepare(&self) -> Result<(), Error> {
        let directory = self.root.join("blobs");
        let created = tokio::fs::create_dir_all(&directory).await;
        created
            .map_err(|error| Error::io(format!("cannot create {}", directory.display()), error))?;
        self.claim().await
    }

    /// Locks the blob directory until `self` is dropped, if it exists.
    ///
    /// The first process to lock it removes the unfinished files of killed processes. Other
    /// processes must not remove files while this one writes.
    async fn claim(&self) -> Result<(), Error> {
        let directory = self.root.join("blobs");
        let failed = |error| Error::io(format!("cannot lock {}", directory.display()), error);
        let lock = async {
            let path = directory.clone();
            let locked = blocking(move || lock_blobs(&path)).await.map_err(failed)?;
            let Some((lock, is_alone)) = locked else { return Ok(None) };
            if !is_alone {
                return Ok(Some(lock));
            }
            self.blobs.remove_unfinished().await?;
            remove_temporary_files(&self.root).await?;
            // With a shared lock, other processes can write, but not remove unfinished files.
            blocking(move || lock.lock_shared().map(|()| Some(lock))).await.map_err(failed)
        };
        match tokio::fs::metadata(&directory).await {
            Ok(_) => self.claim.get_or_try_init(|| lock).await.map(drop),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Reads `index.json`, and checks that its `manifests` are a list.
    async fn index(&self) -> Result<Value, Error> {
        let path = self.root.join("index.json");
        let Some(bytes) = read_optional(&path).await? else {
            let media_type = media_type::OCI_INDEX;
            return Ok(json!({"schemaVersion": 2, "mediaType": media_type, "manifests": []}));
        };
        let bad =
            |reason: String| Error::InvalidContent { what: path.display().to_string(), reason };
        let index: Value =
            serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        match index["manifests"].is_array() {
            true => Ok(index),
            false => Err(bad("it has no `manifests` list".to_owned())),
        }
    }

    /// Locks the directory against other writers. On file systems without locks, only writers in
    /// this process are excluded.
    async fn lock(&self) -> Result<Option<std::fs::File>, Error> {
        let root = self.root.clone();
        let locked = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&root)?;
            let directory = std::fs::File::open(&root)?;
            Ok(directory.lock().is_ok().then_some(directory))
        });
        let failed = |error| Error::io(format!("cannot write {}", self.root.display()), error);
        locked.await.map_err(std::io::Error::from).flatten().map_err(failed)
    }

    async fn resolve(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error> {
        let tag = match reference {
            TagOrDigest::Digest(digest) => return Ok(Some(*digest)),
            TagOrDigest::Tag(tag) => tag,
        };
        let index = self.index().await?;
        let all = index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
        let named = |name: &str| all.iter().find(|entry| entry["annotations"][NAME] == name);
        let full = format!("{repository}:{tag}");
        let Some(entry) = named(&full).or_else(|| named(tag.as_str())) else { return Ok(None) };
        entry["digest"].as_str().unwrap_or_default().parse().map(Some)
    }

    async fn read(&self, digest: &Digest) -> Result<Option<RawManifest>, Error> {
        use futures_util::TryStreamExt as _;
        match self.blobs.size(digest).await? {
            None => return Ok(None),
            Some(size) if size > crate::MAX_MANIFEST_BYTES => {
                let reason = format!("{size} bytes exceed the limit of manifests");
                return Err(Error::InvalidContent { what: digest.to_string(), reason });
            }
            Some(_) => {}
        }
        let chunks = self.blobs.read(digest, 0..crate::MAX_MANIFEST_BYTES).await?;
        let chunks: Vec<_> = chunks.try_collect().await?;
        let bytes = chunks.concat();
        let media_type = sniff_media_type(&bytes).ok_or_else(|| Error::InvalidContent {
            what: digest.to_string(),
            reason: "it is neither an image manifest nor an index".to_owned(),
        })?;
        Ok(Some(RawManifest::with_algorithm(digest.algorithm(), media_type, bytes)))
    }

    async fn set_tag(&self, name: String, manifest: &RawManifest) -> Result<(), Error> {
        let _alone = self.writing.lock().await;
        let _locked = self.lock().await?;
        let mut index = self.index().await?;
        let mut entry = serde_json::to_value(manifest.descriptor()).unwrap_or_default();
        entry["annotations"] = json!({ NAME: name });
        if let Some(manifests) = index["manifests"].as_array_mut() {
            manifests.retain(|entry| entry["annotations"][NAME] != name.as_str());
            manifests.push(entry);
        }
        write_atomic(&self.root.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#).await?;
        write_atomic(&self.root.join("index.json"), index.to_string().as_bytes()).await
    }
}

#[derive(Deserialize)]
struct LayoutIndex {
    manifests: Vec<LayoutImage>,
}

/// Locks a directory, and returns whether no other process has locked it. Returns `None` if the
/// file system does not support locks. Blocks.
fn lock_blobs(directory: &Path) -> std::io::Result<Option<(File, bool)>> {
    let directory = File::open(directory)?;
    match directory.try_lock() {
        Ok(()) => Ok(Some((directory, true))),
        Err(TryLockError::WouldBlock) => {
            directory.lock_shared()?;
            Ok(Some((directory, false)))
        }
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

#[async_trait]
impl ImageSource for OciLayout {
    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<RawManifest, Error> {
        let digest = self.resolve(repository, reference).await?;
        let manifest = match digest {
            Some(digest) => self.read(&digest).await?,
            None => None,
        };
        let place = self.root.display();
        manifest
            .ok_or_else(|| Error::NotFound { what: format!("{repository}:{reference} in {place}") })
    }

    async fn blob(
        &self,
        _repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        self.blobs.read(&descriptor.digest, range).await
    }
}

#[async_trait]
impl ImageSink for OciLayout {
    async fn manifest_digest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error> {
        self.claim().await?;
        let Some(digest) = self.resolve(repository, reference).await? else { return Ok(None) };
        Ok(self.blobs.size(&digest).await?.map(|_| digest))
    }

    async fn has_blob(
        &self,
        _repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        Ok(self.blobs.size(&descriptor.digest).await?.is_some())
    }

    async fn put_blob(&self, _repository: &Repository, blob: VerifiedBlob) -> Result<(), Error> {
        self.prepare().await?;
        store_blob(self.blobs.begin_upload().await?, blob).await
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error> {
        self.prepare().await?;
        let mut upload = self.blobs.begin_upload().await?;
        upload.append(manifest.bytes().clone()).await?;
        upload.commit(&manifest.digest()).await?;
        match tag {
            Some(tag) => self.set_tag(format!("{repository}:{tag}"), manifest).await,
            None => Ok(()),
        }
    }
}
