//! Builds images and indexes.

use std::collections::BTreeMap;
use std::ops::Range;
#[cfg(feature = "disk")]
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
#[cfg(feature = "disk")]
use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};

use crate::source::stream_bytes;
#[cfg(feature = "disk")]
use crate::storage::ChunkReader;
use crate::{
    ByteStream, CopyReport, Descriptor, Destination, Digest, Error, ImageRef, ImageSink,
    ImageSource, Platform, RawManifest, Repository, TagOrDigest, copy, media_type,
};

/// Builds an image from layers and the fields of its configuration.
///
/// The same input results in the same digest: the configuration has no creation time.
///
/// ```
/// use std::sync::Arc;
///
/// use compass_registry::storage::MemoryStorage;
/// use compass_registry::{ImageBuilder, IndexBuilder, Layer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), compass_registry::Error> {
/// let tar = vec![0; 1024];
/// let image = |platform: &str| -> Result<_, compass_registry::Error> {
///     let builder = ImageBuilder::new(platform.parse()?).layer(Layer::tar(tar.clone()));
///     Ok(builder.env("LANG", "C.UTF-8").entrypoint(["/app/run"]).label("team", "web").build())
/// };
/// let index =
///     IndexBuilder::default().image(image("linux/amd64")?).image(image("linux/arm64")?).build();
/// let sink = Arc::new(MemoryStorage::default());
/// let report = index.push(sink, &"team/web:v1".parse()?).await?;
/// assert_eq!(report.digest, index.manifest().digest());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    platform: Platform,
    layers: Vec<Layer>,
    /// The `config` object of the configuration (OCI image specification, § Properties).
    config: Map<String, Value>,
    annotations: BTreeMap<String, String>,
}

/// Builds an index of images for several platforms.
#[derive(Debug, Clone, Default)]
pub struct IndexBuilder {
    images: Vec<BuiltImage>,
    annotations: BTreeMap<String, String>,
}

/// A layer of an image, and the digest of its uncompressed tar archive.
#[derive(Debug, Clone)]
pub struct Layer {
    descriptor: Descriptor,
    diff_id: Digest,
    content: Content,
}

/// An image or index with its content.
///
/// As an [`ImageSource`] it has the manifests by digest, in every repository. Clones share the
/// content.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    manifest: RawManifest,
    platform: Option<Platform>,
    config: Option<Bytes>,
    /// All manifests, including the root.
    manifests: BTreeMap<Digest, RawManifest>,
    blobs: BTreeMap<Digest, Content>,
}

#[derive(Debug, Clone)]
enum Content {
    Bytes(Bytes),
    #[cfg(feature = "disk")]
    File(PathBuf),
}

impl ImageBuilder {
    /// Starts an image for a platform, without layers.
    pub fn new(platform: Platform) -> Self {
        Self { platform, layers: Vec::new(), config: Map::new(), annotations: BTreeMap::new() }
    }

    /// Adds a layer above the others.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        let variables = self.config.entry("Env").or_insert_with(|| json!([]));
        variables
            .as_array_mut()
            .into_iter()
            .for_each(|all| all.push(format!("{name}={value}").into()));
        self
    }

    /// Adds a label, or replaces the one of this name.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.config.entry("Labels").or_insert_with(|| json!({}))[name] = value.into();
        self
    }

    /// Sets the program and its first arguments.
    #[must_use]
    pub fn entrypoint<S: Into<String>>(self, words: impl IntoIterator<Item = S>) -> Self {
        self.config_field("Entrypoint", words.into_iter().map(Into::into).collect::<Vec<_>>())
    }

    /// Sets the arguments that a user can replace.
    #[must_use]
    pub fn cmd<S: Into<String>>(self, words: impl IntoIterator<Item = S>) -> Self {
        self.config_field("Cmd", words.into_iter().map(Into::into).collect::<Vec<_>>())
    }

    /// Sets the directory in which the program starts.
    #[must_use]
    pub fn working_dir(self, path: &str) -> Self {
        self.config_field("WorkingDir", path)
    }

    /// Sets another field of the `config` object, as `User` or `ExposedPorts` (OCI image
    /// specification, § Image Configuration, "Properties").
    #[must_use]
    pub fn config_field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.config.insert(name.to_owned(), value.into());
        self
    }

    /// Adds an annotation to the manifest, or replaces the one of this name.
    #[must_use]
    pub fn annotation(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(name.into(), value.into());
        self
    }

    /// Builds the configuration and the manifest.
    pub fn build(self) -> BuiltImage {
        let diff_ids: Vec<_> = self.layers.iter().map(|layer| layer.diff_id).collect();
        let mut config = json!(self.platform);
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        if !self.config.is_empty() {
            config["config"] = self.config.into();
        }
        let config = Bytes::from(config.to_string());
        let described = Descriptor::of(media_type::OCI_CONFIG, &config);
        let layers: Vec<_> = self.layers.iter().map(|layer| &layer.descriptor).collect();
        let fields = json!({"config": described, "layers": layers});
        let manifest = manifest(media_type::OCI_MANIFEST, fields, &self.annotations);
        let layers = self.layers.into_iter().map(|layer| (layer.descriptor.digest, layer.content));
        BuiltImage {
            platform: Some(self.platform),
            manifests: BTreeMap::from([(manifest.digest(), manifest.clone())]),
            blobs: layers.chain([(described.digest, Content::Bytes(config.clone()))]).collect(),
            config: Some(config),
            manifest,
        }
    }
}

impl IndexBuilder {
    /// Adds an image under its platform, or another index.
    #[must_use]
    pub fn image(mut self, image: BuiltImage) -> Self {
        self.images.push(image);
        self
    }

    /// Adds an annotation to the index, or replaces the one of this name.
    #[must_use]
    pub fn annotation(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(name.into(), value.into());
        self
    }

    /// Builds the index.
    pub fn build(self) -> BuiltImage {
        let entries = self.images.iter().map(|image| Descriptor {
            platform: image.platform.clone(),
            ..image.manifest.descriptor().clone()
        });
        let fields = json!({"manifests": entries.collect::<Vec<_>>()});
        let manifest = manifest(media_type::OCI_INDEX, fields, &self.annotations);
        let (mut manifests, mut blobs) = (BTreeMap::new(), BTreeMap::new());
        for image in self.images {
            manifests.extend(image.manifests);
            blobs.extend(image.blobs);
        }
        manifests.insert(manifest.digest(), manifest.clone());
        BuiltImage { manifest, platform: None, config: None, manifests, blobs }
    }
}

impl Layer {
    /// Creates a layer from an uncompressed tar archive.
    pub fn tar(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let descriptor = Descriptor::of(media_type::OCI_LAYER, &bytes);
        Self { diff_id: descriptor.digest, descriptor, content: Content::Bytes(bytes) }
    }

    /// Creates a layer from a compressed tar archive. `diff_id` is the digest of the uncompressed
    /// archive, and is not checked.
    pub fn compressed(
        media_type: impl Into<String>,
        bytes: impl Into<Bytes>,
        diff_id: Digest,
    ) -> Self {
        let bytes = bytes.into();
        let descriptor = Descriptor::of(media_type, &bytes);
        Self { descriptor, diff_id, content: Content::Bytes(bytes) }
    }

    /// Creates a layer from a file, which is read once for its digest and again for each copy.
    ///
    /// `diff_id` is the digest of the uncompressed archive, and is not checked; without one, the
    /// file is an uncompressed archive.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read.
    #[cfg(feature = "disk")]
    pub async fn from_file(
        media_type: impl Into<String>,
        path: impl Into<PathBuf>,
        diff_id: Option<Digest>,
    ) -> Result<Self, Error> {
        let path = path.into();
        let (mut hasher, mut size) = (crate::Hasher::default(), 0);
        let mut bytes = ChunkReader::default().open(path.clone(), 0..u64::MAX).await?;
        while let Some(chunk) = bytes.next().await.transpose()? {
            hasher.update(&chunk);
            size += chunk.len() as u64;
        }
        let digest = hasher.finish();
        let descriptor = Descriptor { media_type: media_type.into(), digest, size, platform: None };
        Ok(Self { descriptor, diff_id: diff_id.unwrap_or(digest), content: Content::File(path) })
    }

    /// Returns media type, digest and size.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }
}

impl BuiltImage {
    /// Returns the manifest of the image, or the index.
    pub fn manifest(&self) -> &RawManifest {
        &self.manifest
    }

    /// Returns the configuration of the image, or `None` for an index.
    pub fn config(&self) -> Option<&Bytes> {
        self.config.as_ref()
    }

    /// Copies the image to a sink.
    ///
    /// # Errors
    /// As [`copy`].
    pub async fn push(
        &self,
        sink: Arc<dyn ImageSink>,
        to: &Destination,
    ) -> Result<CopyReport, Error> {
        let from = ImageRef::new(to.repository.clone(), self.manifest.digest());
        copy(Arc::new(self.clone()), &from, sink, to).await
    }
}

#[async_trait]
impl ImageSource for BuiltImage {
    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<RawManifest, Error> {
        let manifest = match reference {
            TagOrDigest::Digest(digest) => self.manifests.get(digest).cloned(),
            TagOrDigest::Tag(_) => None,
        };
        let image = || ImageRef::new(repository.clone(), reference.clone()).to_string();
        manifest.ok_or_else(|| Error::NotFound { what: image() })
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        let missing = || Error::NotFound { what: format!("{repository}@{}", descriptor.digest) };
        match self.blobs.get(&descriptor.digest).ok_or_else(missing)? {
            Content::Bytes(bytes) => Ok(stream_bytes(bytes, range)),
            #[cfg(feature = "disk")]
            Content::File(path) => ChunkReader::default().open(path.clone(), range).await,
        }
    }
}

/// Creates a manifest from its own fields and those that all manifests have. The JSON is written
/// here, as the types of `oci-spec` write maps in random order.
fn manifest(
    media_type: &str,
    mut fields: Value,
    annotations: &BTreeMap<String, String>,
) -> RawManifest {
    fields["schemaVersion"] = 2.into();
    fields["mediaType"] = media_type.into();
    if !annotations.is_empty() {
        fields["annotations"] = json!(annotations);
    }
    RawManifest::new(media_type, fields.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;
    use crate::{ImageSourceExt as _, Manifest};

    fn image(platform: &str) -> BuiltImage {
        let builder = ImageBuilder::new(platform.parse().unwrap());
        let packed = Layer::compressed(media_type::OCI_LAYER_GZIP, "packed", Digest::of(b"tar"));
        let builder = builder.layer(Layer::tar("plain")).layer(packed);
        let builder = builder.env("A", "1").env("B", "2").label("team", "web");
        builder.cmd(["run"]).annotation("note", platform).build()
    }

    fn web() -> Repository {
        "team/web".parse().unwrap()
    }

    #[tokio::test]
    async fn image_round_trips_through_copy() {
        let (built, sink) = (image("linux/arm64/v8"), Arc::new(MemoryStorage::default()));
        let to = Destination::new(web(), "v1".parse().ok());
        let report = built.push(sink.clone(), &to).await.unwrap();
        assert_eq!((report.digest, report.blobs), (built.manifest().digest(), 3));
        let read = sink.verified_manifest(&web(), &report.digest.into()).await.unwrap();
        assert_eq!(&read, built.manifest());
        let Manifest::Image { config, layers } = read.parse().unwrap() else { panic!("an image") };
        assert_eq!(&sink.read(&web(), &layers[1]).await.unwrap()[..], b"packed");
        let config = sink.read(&web(), &config).await.unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        let expected = json!({
            "os": "linux", "architecture": "arm64", "variant": "v8",
            "config": {"Env": ["A=1", "B=2"], "Labels": {"team": "web"}, "Cmd": ["run"]},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"plain"), Digest::of(b"tar")]},
        });
        assert_eq!(config, expected);
    }

    #[tokio::test]
    async fn index_selects_image_by_platform() {
        let (amd64, arm64) = (image("linux/amd64"), image("linux/arm64"));
        let index = IndexBuilder::default().image(amd64).image(arm64.clone());
        let index = index.annotation("kept", "yes").build();
        let reference = index.manifest().digest().into();
        let platform = "linux/arm64".parse().unwrap();
        let found = index.image(&web(), &reference, &platform).await.unwrap();
        assert_eq!(&found, arm64.manifest());
        assert!(index.manifest().bytes().windows(14).any(|part| part == br#"{"kept":"yes"}"#));
    }

    #[cfg(feature = "disk")]
    #[tokio::test]
    async fn layer_from_file_matches_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "plain").unwrap();
        let layer = Layer::from_file(media_type::OCI_LAYER, file.path(), None).await.unwrap();
        assert_eq!(
            (layer.descriptor(), layer.diff_id),
            (Layer::tar("plain").descriptor(), Digest::of(b"plain"))
        );
        let built = ImageBuilder::new("linux/amd64".parse().unwrap()).layer(layer).build();
        let read = built.read(&web(), Layer::tar("plain").descriptor()).await.unwrap();
        assert_eq!(&read[..], b"plain");
    }
}
