//! The OCI image layout: a directory of blobs with an `index.json`
//! (OCI image specification, "Image Layout").

use std::ops::Range;
use std::path::PathBuf;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::image_manifest::{media_type, sniff_media_type};
use crate::storage::{BlobFiles, Reading, fill, read_whole, write_whole};
use crate::{
    ByteStream, Descriptor, Digest, Error, ImageSink, ImageSource, Locator, RawManifest,
    Repository, Tag, VerifiedBlob,
};

/// The annotation that names an image in `index.json`.
const NAME: &str = "org.opencontainers.image.ref.name";

/// An OCI layout directory.
///
/// An image that is written is named `REPOSITORY:TAG`; one that is read may also be named by its
/// bare tag, as other tools do.
#[derive(Debug)]
pub struct OciLayout {
    root: PathBuf,
    blobs: BlobFiles,
    writing: Mutex<()>,
}

impl OciLayout {
    /// Opens a directory, which is created when something is written.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self {
            blobs: BlobFiles::new(&root, root.join("blobs"), Reading::Later),
            root,
            writing: Mutex::default(),
        }
    }

    /// What `index.json` says, whoever wrote it; its `manifests` are a list.
    async fn index(&self) -> Result<Value, Error> {
        let path = self.root.join("index.json");
        let Some(bytes) = read_whole(&path).await? else {
            let media_type = media_type::OCI_INDEX;
            return Ok(json!({"schemaVersion": 2, "mediaType": media_type, "manifests": []}));
        };
        let bad = |reason: String| Error::BadContent { what: path.display().to_string(), reason };
        let index: Value =
            serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        match index["manifests"].is_array() {
            true => Ok(index),
            false => Err(bad("it has no list `manifests`".to_owned())),
        }
    }

    /// Keeps others away who write into the directory, as long as the result lives; where the file
    /// system knows no locks, only those of this process.
    async fn lock(&self) -> Result<Option<std::fs::File>, Error> {
        let root = self.root.clone();
        let locked = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&root)?;
            let directory = std::fs::File::open(&root)?;
            Ok(directory.lock().is_ok().then_some(directory))
        });
        let failed = |error| Error::io(format!("cannot write {}", self.root.display()), error);
        locked.await.map_err(std::io::Error::from).and_then(|locked| locked).map_err(failed)
    }

    async fn resolve(
        &self,
        repository: &Repository,
        locator: &Locator,
    ) -> Result<Option<Digest>, Error> {
        let tag = match locator {
            Locator::Digest(digest) => return Ok(Some(*digest)),
            Locator::Tag(tag) => tag,
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
                let reason = format!("{size} bytes are too many for a manifest");
                return Err(Error::BadContent { what: digest.to_string(), reason });
            }
            Some(_) => {}
        }
        let chunks = self.blobs.read(digest, 0..crate::MAX_MANIFEST_BYTES).await?;
        let chunks: Vec<_> = chunks.try_collect().await?;
        let bytes = chunks.concat();
        let media_type = sniff_media_type(&bytes).ok_or_else(|| Error::BadContent {
            what: digest.to_string(),
            reason: "it is neither an image manifest nor an index".to_owned(),
        })?;
        Ok(Some(RawManifest::known_by(digest.algorithm(), media_type, bytes)))
    }

    async fn name(&self, name: String, manifest: &RawManifest) -> Result<(), Error> {
        let _alone = self.writing.lock().await;
        let _locked = self.lock().await?;
        let mut index = self.index().await?;
        let mut entry = serde_json::to_value(manifest.descriptor()).unwrap_or_default();
        entry["annotations"] = json!({ NAME: name });
        if let Some(manifests) = index["manifests"].as_array_mut() {
            manifests.retain(|entry| entry["annotations"][NAME] != name.as_str());
            manifests.push(entry);
        }
        write_whole(&self.root.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#).await?;
        write_whole(&self.root.join("index.json"), index.to_string().as_bytes()).await
    }
}

#[async_trait]
impl ImageSource for OciLayout {
    async fn manifest(
        &self,
        repository: &Repository,
        locator: &Locator,
    ) -> Result<RawManifest, Error> {
        let digest = self.resolve(repository, locator).await?;
        let manifest = match digest {
            Some(digest) => self.read(&digest).await?,
            None => None,
        };
        let place = self.root.display();
        manifest
            .ok_or_else(|| Error::NotFound { what: format!("{repository}:{locator} in {place}") })
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
        locator: &Locator,
    ) -> Result<Option<Digest>, Error> {
        let Some(digest) = self.resolve(repository, locator).await? else { return Ok(None) };
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
        fill(self.blobs.begin().await?, blob).await
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error> {
        let mut upload = self.blobs.begin().await?;
        upload.append(manifest.bytes().clone()).await?;
        upload.commit(&manifest.digest()).await?;
        match tag {
            Some(tag) => self.name(format!("{repository}:{tag}"), manifest).await,
            None => Ok(()),
        }
    }
}
