//! Lists the images of an index with their platforms, and selects one.

use std::collections::HashSet;

use crate::image_manifest::{MAX_IMAGE_MANIFESTS_BYTES, Manifest};
use crate::{
    Descriptor, Error, ImageSource, ImageSourceExt as _, Platform, RawManifest, Repository,
    TagOrDigest,
};

/// The maximum depth of nested indexes.
pub const MAX_INDEX_DEPTH: usize = 16;

/// Lists the images of an index and of its nested indexes, without attestations.
///
/// If the index names no platform for an image, the one in the configuration of the image is used,
/// if the source has it. As in containerd, such images are listed last.
pub(crate) async fn list_images<S: ImageSource + ?Sized>(
    source: &S,
    repository: &Repository,
    index: &RawManifest,
) -> Result<Vec<Descriptor>, Error> {
    let mut reader = Reader { source, repository, bytes: 0, seen: HashSet::from([index.digest()]) };
    let (mut images, mut implied, mut level) = (Vec::new(), Vec::new(), vec![index.clone()]);
    for _ in 0..MAX_INDEX_DEPTH {
        let mut below = Vec::new();
        for index in level {
            for entry in image_entries(&index)? {
                let is_implied = entry.platform.is_none();
                let needs_reading = is_index(&entry) || is_implied;
                let found = if is_implied { &mut implied } else { &mut images };
                match if needs_reading { reader.read(&entry).await? } else { None } {
                    Some(manifest) if manifest.is_index() => below.push(manifest),
                    Some(manifest) => {
                        let platform = reader.platform_of(&manifest).await?;
                        found.push(Descriptor { platform, ..entry });
                    }
                    None => found.push(entry),
                }
            }
        }
        if below.is_empty() {
            images.append(&mut implied);
            return Ok(images);
        }
        level = below;
    }
    Err(Error::InvalidContent {
        what: format!("index {}", index.digest()),
        reason: too_deep_reason(),
    })
}

/// Selects the image of an index for a platform.
///
/// # Errors
/// [`Error::NoSuchPlatform`] and [`Error::AmbiguousPlatform`].
pub(crate) fn select_image<'i>(
    what: &str,
    images: &'i [Descriptor],
    wanted: &Platform,
) -> Result<&'i Descriptor, Error> {
    let best = wanted.best_of(images);
    let versions: HashSet<_> = best.iter().map(|image| build_of(image)).collect();
    if versions.len() > 1 {
        return Err(Error::AmbiguousPlatform {
            what: what.to_owned(),
            wanted: wanted.to_string(),
            available: platforms_of(best.into_iter()),
        });
    }
    // Choose the latest revision of a build and, as the OCI image specification asks, the first of
    // several equal images.
    let latest = best.iter().filter_map(|image| revision(image)).max();
    let chosen = best.into_iter().find(|image| revision(image) == latest);
    chosen.ok_or_else(|| Error::NoSuchPlatform {
        what: what.to_owned(),
        wanted: wanted.to_string(),
        available: platforms_of(images.iter()),
    })
}

/// Explains why nested indexes are not read any further.
pub(crate) fn too_deep_reason() -> String {
    format!("indexes are nested more than {MAX_INDEX_DEPTH} deep")
}

/// Formats the platforms of images for a message.
fn platforms_of<'i>(images: impl Iterator<Item = &'i Descriptor>) -> String {
    let platforms = images.filter_map(|image| image.platform.as_ref());
    platforms.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Returns the OS version without its revision: `10.0.17763` of `10.0.17763.1879`.
fn build_of(image: &Descriptor) -> Option<&str> {
    let version = os_version(image)?;
    let end = version.match_indices('.').nth(2).map_or(version.len(), |(at, _)| at);
    Some(&version[..end])
}

fn os_version(image: &Descriptor) -> Option<&str> {
    image.platform.as_ref()?.os_version.as_deref()
}

fn revision(image: &Descriptor) -> Option<u64> {
    os_version(image)?.splitn(4, '.').nth(3)?.parse().ok()
}

fn is_index(entry: &Descriptor) -> bool {
    // An entry of an unknown type is read, because its content determines the type.
    !RawManifest::is_manifest_type(&entry.media_type)
        || RawManifest::is_index_type(&entry.media_type)
}

/// Whether an entry is an attestation of an image, as `BuildKit` writes them.
fn is_attestation(entry: &Descriptor) -> bool {
    let is_unknown = |platform: &Platform| {
        (platform.os.as_str(), platform.architecture.as_str()) == ("unknown", "unknown")
    };
    entry.platform.as_ref().is_some_and(is_unknown)
}

fn image_entries(index: &RawManifest) -> Result<Vec<Descriptor>, Error> {
    match index.parse()? {
        Manifest::Index(entries) => {
            let images = entries.into_iter().filter(Descriptor::is_manifest);
            Ok(images.filter(|entry| !is_attestation(entry)).collect())
        }
        Manifest::Image { .. } => Ok(Vec::new()),
    }
}

/// Reads the manifests and platforms of index entries, up to a total size.
struct Reader<'r, S: ?Sized> {
    source: &'r S,
    repository: &'r Repository,
    bytes: u64,
    seen: HashSet<crate::Digest>,
}

impl<S: ImageSource + ?Sized> Reader<'_, S> {
    /// Reads the manifest of an entry; `None` if it was read before or does not exist.
    async fn read(&mut self, entry: &Descriptor) -> Result<Option<RawManifest>, Error> {
        if !self.seen.insert(entry.digest) {
            return Ok(None);
        }
        let reference = TagOrDigest::Digest(entry.digest);
        match self.source.verified_manifest(self.repository, &reference).await {
            Ok(manifest) => {
                self.count_bytes(manifest.descriptor().size)?;
                Ok(Some(manifest))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn platform_of(&mut self, image: &RawManifest) -> Result<Option<Platform>, Error> {
        if let Manifest::Image { config, .. } = image.parse()? {
            self.count_bytes(config.size)?;
        }
        match self.source.platform_of(self.repository, image).await {
            Err(error) if error.is_not_found() => Ok(None),
            platform => platform,
        }
    }

    fn count_bytes(&mut self, bytes: u64) -> Result<(), Error> {
        self.bytes += bytes;
        if self.bytes <= MAX_IMAGE_MANIFESTS_BYTES {
            return Ok(());
        }
        Err(Error::InvalidContent {
            what: format!("the index of {}", self.repository),
            reason: format!(
                "finding the platforms of its images would read more than \
                 {MAX_IMAGE_MANIFESTS_BYTES} bytes"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::storage::{MemoryStorage, Storage};
    use crate::{Digest, media_type};

    fn repository() -> Repository {
        "team/web".parse().unwrap()
    }

    async fn put(storage: &MemoryStorage, kind: &str, value: &Value) -> Value {
        let manifest = RawManifest::new(kind, value.to_string());
        Storage::put_manifest(storage, &repository(), &manifest, None).await.unwrap();
        json!(manifest.descriptor())
    }

    /// Stores an image for an architecture, and describes it without its platform.
    async fn image(storage: &MemoryStorage, architecture: &str) -> Value {
        let config = json!({"os": "linux", "architecture": architecture}).to_string();
        storage.add_blob(&repository(), config.clone());
        let config = Descriptor::of(media_type::OCI_CONFIG, config.as_bytes());
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": []});
        put(storage, media_type::OCI_MANIFEST, &manifest).await
    }

    fn index(entries: &[Value]) -> Value {
        json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries})
    }

    fn names(images: &[Descriptor]) -> Vec<String> {
        let name = |platform: &Option<Platform>| {
            platform.as_ref().map_or_else(|| "none".to_owned(), Platform::to_string)
        };
        images.iter().map(|image| name(&image.platform)).collect()
    }

    #[tokio::test]
    async fn list_images_reads_platforms_from_configurations() {
        let storage = MemoryStorage::default();
        let (amd64, arm64) = (image(&storage, "amd64").await, image(&storage, "arm64").await);
        let inner = put(&storage, media_type::OCI_INDEX, &index(&[arm64])).await;
        let mut untyped = image(&storage, "s390x").await;
        untyped["mediaType"] = json!("");
        let gone =
            json!({"mediaType": media_type::OCI_MANIFEST, "size": 2, "digest": Digest::of(b"x")});
        let cache =
            json!({"mediaType": media_type::OCI_LAYER, "size": 2, "digest": Digest::of(b"y")});
        let root = index(&[amd64, inner, untyped, gone, cache]);
        let root = RawManifest::new(media_type::OCI_INDEX, root.to_string());
        let images = list_images(&storage, &repository(), &root).await.unwrap();
        assert_eq!(names(&images), ["linux/amd64", "linux/s390x", "none", "linux/arm64"]);
    }

    #[tokio::test]
    async fn list_images_named_platforms_first() {
        let storage = MemoryStorage::default();
        let (implied, mut named) = (image(&storage, "amd64").await, image(&storage, "arm64").await);
        named["platform"] = json!({"os": "linux", "architecture": "amd64"});
        for entries in [[implied.clone(), named.clone()], [named.clone(), implied]] {
            let root = RawManifest::new(media_type::OCI_INDEX, index(&entries).to_string());
            let images = list_images(&storage, &repository(), &root).await.unwrap();
            let chosen = select_image("a:v1", &images, &"linux/amd64".parse().unwrap()).unwrap();
            assert_eq!(json!(chosen.digest), named["digest"]);
        }
    }

    #[tokio::test]
    async fn list_images_deep_nesting_is_rejected() {
        let storage = MemoryStorage::default();
        let mut entry = image(&storage, "amd64").await;
        for depth in 1..MAX_INDEX_DEPTH + 2 {
            let root = RawManifest::new(media_type::OCI_INDEX, index(&[entry.clone()]).to_string());
            let images = list_images(&storage, &repository(), &root).await;
            assert_eq!(images.is_ok(), depth <= MAX_INDEX_DEPTH, "{depth}: {images:?}");
            entry = put(&storage, media_type::OCI_INDEX, &index(&[entry])).await;
        }
    }

    #[test]
    fn select_image_windows_needs_version() {
        let images: Vec<_> = ["10.0.17763.1", "10.0.17763.9", "10.0.20348.1"]
            .map(|version| {
                let platform = format!("windows({version})/amd64").parse().unwrap();
                Descriptor { platform: Some(platform), ..Descriptor::of("x", version.as_bytes()) }
            })
            .into();
        let choose = |images: &[Descriptor], wanted: &str| {
            select_image("a:v1", images, &wanted.parse().unwrap()).map(|image| image.digest)
        };
        let refused = choose(&images, "windows/amd64").unwrap_err();
        assert!(matches!(refused, Error::AmbiguousPlatform { .. }), "{refused}");
        assert!(refused.to_string().contains("windows(10.0.20348.1)/amd64"), "{refused}");
        let latest = Digest::of(b"10.0.17763.9");
        assert_eq!(choose(&images, "windows(10.0.17763)/amd64").unwrap(), latest);
        assert_eq!(choose(&images[..2], "windows/amd64").unwrap(), latest);
        let refused = choose(&images, "windows(10.0.14393)/amd64").unwrap_err();
        assert!(matches!(refused, Error::NoSuchPlatform { .. }), "{refused}");
    }
}
