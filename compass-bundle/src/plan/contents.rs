//! What goes into a bundle.

use std::collections::BTreeSet;

use bytes::Bytes;
use compass_registry::{Digest, Platform, RawManifest};

use super::entry;
use super::image::ArchiveImage;
use crate::document::{BundleKind, FILE_NAME, MANIFEST, MAX_DOCUMENT, MAX_MANIFESTS};
use crate::{Error, naming};

/// What goes into a bundle.
#[derive(Debug, Clone)]
pub struct BundleContents {
    /// The kind of package.
    pub kind: BundleKind,
    /// The plugin, the addon, or the product.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The product version that a hotfix is for, where its own version does not begin with it.
    pub base: Option<String>,
    /// The commit that last changed the release manifest, where it is known.
    pub commit: Option<String>,
    /// Seconds since 1970: the time of that commit, `SOURCE_DATE_EPOCH`, or 0.
    pub modified: u64,
    /// The YAML and whatever else is small, in the order in which it will stand.
    pub files: Vec<ContentFile>,
    /// The images, in the order of the release manifest.
    pub images: Vec<ArchiveImage>,
    /// The platform that tools see which know only single images.
    pub platform: Platform,
    /// The platforms that are part of the bundle's name: those that it is for, unless they are the
    /// usual ones.
    pub platforms: Vec<Platform>,
    /// Whether a product bundle has an archive for each image beside its image store. The other
    /// kinds have archives only.
    pub archives: bool,
}

/// A small file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentFile {
    /// The path below the bundle's directory.
    pub path: String,
    /// Its permissions, such as 0o755.
    pub mode: u32,
    /// The number of its bytes.
    pub size: u64,
    /// Their digest.
    pub digest: Digest,
    /// The bytes, where they are at hand: a plan without them can be read by, and not written.
    pub bytes: Option<Bytes>,
}

impl ContentFile {
    /// A file with the usual permissions.
    pub fn new(path: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            path: path.into(),
            mode: entry::FILE_MODE,
            size: bytes.len() as u64,
            digest: Digest::of(&bytes),
            bytes: Some(bytes),
        }
    }

    /// The file with other permissions.
    #[must_use]
    pub fn with_mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// Whether the path stays inside a bundle, the mode is one, and size and digest are those of the
    /// bytes.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] where not.
    pub fn require_usable(&self) -> Result<(), Error> {
        naming::validate_portable_path(&self.path)?;
        if let Some(bytes) = &self.bytes
            && (bytes.len() as u64 != self.size
                || self.digest.algorithm().digest(bytes) != self.digest)
        {
            let path = &self.path;
            return Err(Error::InvalidInput(format!("{path}: its bytes are not those described")));
        }
        if self.mode & !0o777 != 0 {
            let (path, mode) = (&self.path, self.mode);
            return Err(Error::InvalidInput(format!("{path}: {mode:o} are no permissions")));
        }
        Ok(())
    }
}

impl BundleContents {
    /// The file name without `.tar.gz`.
    pub(crate) fn stem(&self) -> String {
        naming::stem(self.kind, &self.name, &self.version, &self.platforms)
    }

    /// Whether images stand in one store.
    pub(crate) fn has_store(&self) -> bool {
        self.kind == BundleKind::Product
    }

    /// Whether images stand in archives of their own.
    pub(crate) fn has_archives(&self) -> bool {
        !self.has_store() || self.archives
    }

    /// Names lead nowhere else, and no two things of a bundle have the same one.
    pub(crate) fn require_usable(&self) -> Result<(), Error> {
        naming::validate_name("name", &self.name)?;
        naming::validate_name("version", &self.version)?;
        if let Some(base) = &self.base {
            naming::validate_name("product version", base)?;
        }
        naming::validate_platforms(&self.platforms)?;
        let mut seen = BTreeSet::from([FILE_NAME]);
        for file in &self.files {
            file.require_usable()?;
            let first = file.path.split('/').next().unwrap_or_default();
            let reserved = (self.has_store() && [super::store::PATH, ARCHIVES].contains(&first))
                || file.path.ends_with(naming::ARCHIVE_SUFFIX);
            if reserved || is_taken(&seen, &file.path) {
                let path = &file.path;
                return Err(Error::InvalidInput(format!("`{path}` is taken in the bundle")));
            }
            seen.insert(&file.path);
        }
        Ok(())
    }

    /// Readers take only so much into memory; a bundle that none can open is not written. This comes
    /// before anything is laid out: a document may name one manifest again and again.
    pub(crate) fn require_few_manifests(&self) -> Result<(), Error> {
        let copies = u64::from(self.has_store()) + u64::from(self.has_archives());
        let size = |manifest: &RawManifest| manifest.descriptor().size + 2 * MANIFEST;
        // Whoever opens a bundle reads the manifest that an image begins with once more for it.
        let sizes = self
            .images
            .iter()
            .map(|image| image.root.descriptor().size + image.manifests().map(size).sum::<u64>());
        require_at_most("all image manifests together", copies * sizes.sum::<u64>(), MAX_MANIFESTS)
    }
}

/// The same for `bundle.json`, of which this is the size.
pub(crate) fn require_readable(document: usize) -> Result<(), Error> {
    require_at_most(FILE_NAME, document as u64, MAX_DOCUMENT)
}

fn require_at_most(what: &str, size: u64, most: u64) -> Result<(), Error> {
    if size <= most {
        return Ok(());
    }
    let message = format!("{what} would take {size} bytes, and readers take at most {most}");
    Err(Error::InvalidInput(message))
}

/// Whether a path is there already, leads through a file, or is a directory that others are in.
fn is_taken(files: &BTreeSet<&str>, path: &str) -> bool {
    let mut directories = path.match_indices('/').map(|(end, _)| &path[..end]);
    if files.contains(path) || directories.any(|directory| files.contains(directory)) {
        return true;
    }
    let inside = format!("{path}/");
    files.range(&inside[..]..).next().is_some_and(|other| other.starts_with(&inside))
}

/// The directory of a product bundle's image archives.
pub(crate) const ARCHIVES: &str = "archives";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_no_directory_and_stands_at_one_place() {
        let files = BTreeSet::from(["bundle.json", "a/b", "a/b-c", "a/d/e"]);
        for (path, taken) in [
            ("a/b", true),
            ("a/b/c", true),
            ("a/b/c/d", true),
            ("a", true),
            ("a/d", true),
            ("bundle.json", true),
            ("a/b-", false),
            ("a/c", false),
            ("a/d/f", false),
            ("b", false),
        ] {
            assert_eq!(is_taken(&files, path), taken, "{path}");
        }
    }
}
