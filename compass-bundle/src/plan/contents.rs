//! The contents of a bundle.

use std::collections::BTreeSet;

use bytes::Bytes;
use compass_registry::{Digest, Platform, RawManifest, setters};

use super::image::ArchiveImage;
use crate::Error;
use crate::format::document::{BundleKind, FILE_NAME, MANIFEST, MAX_DOCUMENT, MAX_MANIFESTS};
use crate::format::naming;
use crate::format::tar_entry;

/// The contents of a bundle.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BundleContents {
    /// The kind of package.
    pub kind: BundleKind,
    /// Name of the plugin, addon or product.
    pub name: String,
    /// Version of the package.
    pub version: String,
    /// The product version that a hotfix applies to, if its own version does not start with it.
    pub base_version: Option<String>,
    /// The commit that last changed the release manifest, if it is known.
    pub commit: Option<String>,
    /// The modification time of all entries in seconds since 1970, such as the time of the commit.
    pub modified: u64,
    /// The YAML and other small files, in the order of the bundle.
    pub files: Vec<FileEntry>,
    /// The images, in the order of the release manifest.
    pub images: Vec<ArchiveImage>,
    /// The platform of the image that tools without index support load.
    pub platform: Platform,
    /// The platforms in the file name of the bundle. Empty if the name contains none.
    pub platforms: Vec<Platform>,
    /// Whether a product bundle has an archive for each image in addition to its image store. The other
    /// kinds have archives only.
    pub include_archives: bool,
}

/// A small file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileEntry {
    /// The path below the bundle's directory.
    pub path: String,
    /// Its permissions, such as 0o755.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// Digest of the content.
    pub digest: Digest,
    /// The content. Without it, a plan describes a bundle but cannot be written.
    pub bytes: Option<Bytes>,
}

setters!(FileEntry { mode: u32 });

impl FileEntry {
    /// Creates a file with mode 0644.
    pub fn new(path: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            path: path.into(),
            mode: tar_entry::FILE_MODE,
            size: bytes.len() as u64,
            digest: Digest::of(&bytes),
            bytes: Some(bytes),
        }
    }

    /// Checks the path, the mode, the size and the digest.
    ///
    /// The path must stay inside the bundle, the mode must consist of permission bits, and size and
    /// digest must be those of the bytes.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if a check fails.
    pub fn validate(&self) -> Result<(), Error> {
        naming::validate_portable_path(&self.path)?;
        if let Some(bytes) = &self.bytes
            && (bytes.len() as u64 != self.size
                || self.digest.algorithm().digest(bytes) != self.digest)
        {
            let path = &self.path;
            return Err(Error::InvalidInput(format!(
                "the size or digest of {path} does not match its content"
            )));
        }
        if self.mode & !0o777 != 0 {
            let (path, mode) = (&self.path, self.mode);
            return Err(Error::InvalidInput(format!(
                "the mode {mode:o} of {path} has bits other than permissions"
            )));
        }
        Ok(())
    }
}

setters!(BundleContents {
    base_version: Option<String>,
    commit: Option<String>,
    modified: u64,
    files: Vec<FileEntry>,
    images: Vec<ArchiveImage>,
    platforms: Vec<Platform>,
    include_archives: bool,
});

impl BundleContents {
    /// Creates contents without files and images, with the modification time 0.
    ///
    /// `platform` is that of the image that tools without index support load.
    pub fn new(
        kind: BundleKind,
        name: impl Into<String>,
        version: impl Into<String>,
        platform: Platform,
    ) -> Self {
        Self {
            kind,
            name: name.into(),
            version: version.into(),
            base_version: None,
            commit: None,
            modified: 0,
            files: Vec::new(),
            images: Vec::new(),
            platform,
            platforms: Vec::new(),
            include_archives: false,
        }
    }

    /// The file name without `.tar.gz`.
    pub(crate) fn stem(&self) -> String {
        naming::stem(self.kind, &self.name, &self.version, &self.platforms)
    }

    /// Returns whether the bundle has an image store.
    pub(crate) fn has_store(&self) -> bool {
        self.kind == BundleKind::Product
    }

    /// Returns whether the bundle has image archives.
    pub(crate) fn has_archives(&self) -> bool {
        !self.has_store() || self.include_archives
    }

    /// Checks that names stay inside the bundle and are unique.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        naming::validate_name("name", &self.name)?;
        naming::validate_name("version", &self.version)?;
        if let Some(base) = &self.base_version {
            naming::validate_name("product version", base)?;
        }
        naming::validate_platforms(&self.platforms)?;
        let mut seen = BTreeSet::from([FILE_NAME]);
        for file in &self.files {
            file.validate()?;
            let first = file.path.split('/').next().unwrap_or_default();
            let reserved = (self.has_store() && [super::store::PATH, ARCHIVES].contains(&first))
                || file.path.ends_with(naming::ARCHIVE_SUFFIX);
            if reserved || is_taken(&seen, &file.path) {
                let path = &file.path;
                return Err(Error::InvalidInput(format!(
                    "`{path}` is reserved, or is the path of another file"
                )));
            }
            seen.insert(&file.path);
        }
        Ok(())
    }

    /// Checks that a reader of the bundle has enough memory for the image manifests.
    ///
    /// The layout copies a manifest for every image that has it, so call this before the layout.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if they exceed the limit of 64 MiB.
    pub(crate) fn check_manifests_size(&self) -> Result<(), Error> {
        let copies = u64::from(self.has_store()) + u64::from(self.has_archives());
        let size = |manifest: &RawManifest| manifest.descriptor().size + 2 * MANIFEST;
        // A reader parses the root manifest of an image twice.
        let sizes = self
            .images
            .iter()
            .map(|image| image.root.descriptor().size + image.manifests().map(size).sum::<u64>());
        check_size("all image manifests together", copies * sizes.sum::<u64>(), MAX_MANIFESTS)
    }
}

/// Checks that `bundle.json` does not exceed the size that readers accept.
pub(crate) fn check_document_size(document: usize) -> Result<(), Error> {
    check_size(FILE_NAME, document as u64, MAX_DOCUMENT)
}

fn check_size(what: &str, size: u64, most: u64) -> Result<(), Error> {
    if size <= most {
        return Ok(());
    }
    let message = format!("{what} would have {size} bytes, which exceeds the limit of {most}");
    Err(Error::InvalidInput(message))
}

/// Whether a path is that of another file, is below one, or is a directory that contains one.
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
    fn is_taken_file_or_directory_is_true() {
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
