//! Lookup of image manifests by tag or digest.

use compass_registry::{Error as RegistryError, RawManifest, Reference, TagOrDigest};

/// Finds an image manifest in one repository. `images` yields the reference, root manifest and other
/// manifests of each image.
///
/// # Errors
/// If no image matches, or several do: registries on two hosts may use the same tag for different
/// images.
pub(crate) fn find_manifest<'i>(
    wanted: &TagOrDigest,
    images: impl Iterator<Item = (&'i Reference, &'i RawManifest, &'i [RawManifest])>,
    what: impl Fn() -> String,
) -> Result<RawManifest, RegistryError> {
    let mut found: Option<&RawManifest> = None;
    for (reference, root, children) in images {
        let fits = match wanted {
            TagOrDigest::Tag(tag) => {
                (reference.with_default_tag().tag() == Some(tag)).then_some(root)
            }
            TagOrDigest::Digest(digest) => {
                let mut all = std::iter::once(root).chain(children);
                all.find(|manifest| manifest.digest() == *digest)
            }
        };
        match (found, fits) {
            (Some(one), Some(other)) if one.digest() != other.digest() => {
                let reason = "several images have this name: select one by its digest".to_owned();
                return Err(RegistryError::InvalidContent { what: what(), reason });
            }
            (None, fits) => found = fits,
            _ => {}
        }
    }
    found.cloned().ok_or_else(|| RegistryError::NotFound { what: what() })
}
