//! `bundle.json`, the first entry of a bundle, which describes it. Schema:
//! `docs/bundle.schema.json`.

use std::fmt;
use std::marker::PhantomData;

use compass_registry::{Descriptor, Digest, Platform};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::Error;
use crate::format::tar_entry;

/// The format version that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// The file name of the document in a bundle.
pub const FILE_NAME: &str = "bundle.json";

/// Maximum size of `bundle.json` in bytes.
pub(crate) const MAX_DOCUMENT: u64 = 16 << 20;

/// Maximum number of elements of any list. A list element takes far more memory than its bytes in
/// JSON.
const MAX_LISTED: usize = 50_000;

/// Maximum total size of image manifests in a bundle, in bytes: enough for a thousand large
/// indexes.
pub(crate) const MAX_MANIFESTS: u64 = 64 << 20;

/// Estimated memory for a manifest in addition to its content, in bytes.
pub(crate) const MANIFEST: u64 = 128;

/// The content of `bundle.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundleDocument {
    /// The format version, [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The kind of package.
    pub kind: BundleKind,
    /// Name of the plugin, addon or product.
    pub name: String,
    /// Version of the package.
    pub version: String,
    /// The product version that a hotfix applies to, if its own version does not start with it.
    #[serde(rename = "base", default, skip_serializing_if = "Option::is_none")]
    pub base_version: Option<String>,
    /// The platforms of the bundle, if its file name contains them.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded_list")]
    pub platforms: Vec<Platform>,
    /// The commit that last changed the release manifest, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Modification time of all entries, in seconds since 1970.
    pub modified: u64,
    /// The small files that follow this document, then the image archives, in the order of the tar
    /// archive.
    #[serde(deserialize_with = "bounded_list")]
    pub files: Vec<BundleFile>,
    /// The images of a product, stored between the small files and the image archives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<ImageStore>,
}

/// The kind of an install package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum BundleKind {
    /// A plugin.
    Plugin,
    /// A patch of one addon.
    Hotfix,
    /// All images of a product version.
    Product,
}

impl BundleKind {
    /// Returns the name in `bundle.json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Hotfix => "hotfix",
            Self::Product => "product",
        }
    }
}

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundleFile {
    /// Path below the bundle's directory.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Permissions in octal, such as `0755`, unless they are 0644.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Digest of the content. `None` for image archives: the document is written before any layer
    /// is read, when only the digests of their blobs are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The image, if the file is an image archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<BundleImage>,
}

/// An image of an image archive or of the image store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundleImage {
    /// Its reference in the release registry.
    pub reference: String,
    /// Digest of the image manifest, or of the index if the index is included.
    pub digest: Digest,
    /// The platform, or `None` if the index is included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The platform of the image that tools without index support load.
    #[serde(rename = "singlePlatform")]
    pub default_platform: Platform,
    /// Platforms of an included index that the bundle omits.
    #[serde(rename = "absent", default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded_list")]
    pub omitted_platforms: Vec<Platform>,
    /// Manifests, configurations and layers, in the order of the archive. Empty in the image store,
    /// which lists the blobs of all images in [`ImageStore::blobs`].
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded_list")]
    pub blobs: Vec<PlacedBlob>,
}

/// The images of a product in one OCI image layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageStore {
    /// Path of the layout below the bundle's directory.
    pub path: String,
    /// The images, in the order of the release manifest.
    #[serde(deserialize_with = "bounded_list")]
    pub images: Vec<BundleImage>,
    /// Manifests, configurations and layers in the order of the archive, without duplicates.
    #[serde(deserialize_with = "bounded_list")]
    pub blobs: Vec<PlacedBlob>,
}

/// A blob and its offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacedBlob {
    /// Media type, digest and size.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// Offset of its first byte.
    ///
    /// It is relative to the start of the uncompressed tar of its image archive, or to the first
    /// entry of the image store.
    pub offset: u64,
}

/// Deserializes a list of at most [`MAX_LISTED`] elements.
fn bounded_list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    list: D,
) -> Result<Vec<T>, D::Error> {
    struct BoundedList<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for BoundedList<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX_LISTED}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = list.next_element()? {
                if all.len() == MAX_LISTED {
                    return Err(de::Error::invalid_length(MAX_LISTED + 1, &self));
                }
                all.push(one);
            }
            Ok(all)
        }
    }

    list.deserialize_seq(BoundedList(PhantomData))
}

impl BundleDocument {
    /// Checks that no list exceeds what readers accept.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if one does.
    pub(crate) fn check_limits(&self) -> Result<(), Error> {
        let of_image = |image: &BundleImage| image.blobs.len().max(image.omitted_platforms.len());
        let store = self.store.iter();
        let of_store = store.flat_map(|store| [store.images.len(), store.blobs.len()]);
        match of_store.chain(self.images().map(of_image)).chain([self.files.len()]).max() {
            Some(most) if most > MAX_LISTED => {
                let message = format!("{most} files or blobs exceed the limit of {MAX_LISTED}");
                Err(Error::InvalidInput(message))
            }
            _ => Ok(()),
        }
    }

    /// Serializes the document.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The platform of the images that tools without index support load.
    pub(crate) fn default_platform(&self) -> Platform {
        let first = self.images().next().map(|image| image.default_platform.clone());
        first.unwrap_or_else(|| Platform::new("linux", "amd64"))
    }

    /// The images of the store, then those of the archives.
    fn images(&self) -> impl Iterator<Item = &BundleImage> {
        let archived = self.archives().filter_map(|file| file.image.as_ref());
        self.store.iter().flat_map(|store| &store.images).chain(archived)
    }

    /// The image archives.
    pub(crate) fn archives(&self) -> impl Iterator<Item = &BundleFile> {
        self.files.iter().filter(|file| file.image.is_some())
    }
}

impl BundleFile {
    /// The permissions, such as `0o755`.
    pub fn permissions(&self) -> u32 {
        let mode = self.mode.as_deref().and_then(|mode| u32::from_str_radix(mode, 8).ok());
        mode.unwrap_or(tar_entry::FILE_MODE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_lists_every_field() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../../../docs/bundle.schema.json")).unwrap();
        let document = serde_json::to_value(full_document()).unwrap();
        let same = |value: &serde_json::Value, schema: &serde_json::Value| {
            let keys = |value: &serde_json::Value| {
                let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
                keys.sort();
                keys
            };
            assert_eq!(keys(value), keys(&schema["properties"]));
        };
        let file = &document["files"][0];
        let blob = &file["image"]["blobs"][0];
        same(&document, &schema);
        same(file, &schema["$defs"]["file"]);
        same(&file["image"], &schema["$defs"]["image"]);
        same(&document["store"], &schema["$defs"]["store"]);
        same(&document["store"]["images"][0], &schema["$defs"]["storedImage"]);
        same(blob, &schema["$defs"]["blob"]);
        same(&blob["platform"], &schema["$defs"]["platform"]);
        let back: BundleDocument = serde_json::from_value(document).unwrap();
        assert_eq!(back.files.len(), 1);
    }

    /// A document that uses every field.
    fn full_document() -> BundleDocument {
        let platform: Platform = "windows(10.0.17763+gpu)/arm64/v8".parse().unwrap();
        let mut descriptor = Descriptor::of("a/b", b"x");
        descriptor.platform = Some(platform.clone());
        let image = BundleImage {
            reference: "a.b/c:d".to_owned(),
            digest: descriptor.digest,
            platform: Some(platform.clone()),
            default_platform: platform.clone(),
            omitted_platforms: vec![platform],
            blobs: vec![PlacedBlob { descriptor: descriptor.clone(), offset: 1 }],
        };
        let stored = BundleImage { blobs: Vec::new(), ..image.clone() };
        let file = BundleFile {
            path: "x".to_owned(),
            size: 1,
            mode: Some("0755".to_owned()),
            digest: Some(descriptor.digest),
            image: Some(image.clone()),
        };
        BundleDocument {
            format_version: FORMAT_VERSION,
            kind: BundleKind::Plugin,
            name: "gpu".to_owned(),
            version: "v1.0.0".to_owned(),
            base_version: Some("v2.7.0".to_owned()),
            platforms: image.platform.iter().cloned().collect(),
            commit: Some("c".to_owned()),
            modified: 0,
            files: vec![file],
            store: Some(ImageStore {
                path: "images".to_owned(),
                images: vec![stored],
                blobs: image.blobs.clone(),
            }),
        }
    }
}
