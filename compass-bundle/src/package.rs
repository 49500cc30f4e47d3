//! Any install package: a bundle, or a package of other tools.

mod content;
mod detection;
mod image;
mod verify;

use std::sync::Arc;

use bytes::Bytes;
use compass_registry::{Digest, ImageSource};

pub use self::content::PackageBlob;
use self::detection::{is_truncated, starts_with_document};
pub use self::image::Image;
pub(crate) use self::image::{Backend, layers_of};
pub use self::verify::verify_unreadable;
use crate::Error;
use crate::foreign::{ForeignFile, ForeignPackage, PackageProblem};
use crate::plan::contents::FileEntry;
use crate::read::{Bundle, BundleSource};

/// An install package. Clones share the open file.
///
/// ```no_run
/// use std::path::Path;
/// use std::sync::Arc;
///
/// use compass_bundle::{LocalFile, Package};
/// use futures_util::TryStreamExt as _;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let file = LocalFile::open(Path::new("compass-plugins-gpu-v0.1.0.tar.gz"))?;
/// let package = Package::read(Arc::new(file)).await?;
/// for file in package.files() {
///     println!("{} {}", file.path, file.size);
/// }
/// for blob in package.blobs()? {
///     // The last chunk is yielded only if the digest of the whole blob is correct.
///     let mut content = package.open_blob(&blob.descriptor.digest)?;
///     while let Some(chunk) = content.try_next().await? {
///         println!("{}: {} bytes", blob.descriptor.digest, chunk.len());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Package {
    /// A bundle, which is read by offset.
    Bundle(Bundle),
    /// A package of other tools, which is read in sequence.
    Foreign(ForeignPackage),
}

/// A file of a package that is not an image archive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackageFile {
    /// The path: in a bundle below its directory, in a foreign package from the root of the archive.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Digest of the content.
    pub digest: Digest,
    /// Permissions, such as `0o755`. `None` for foreign packages, whose permissions depend on the
    /// disk that they were created on.
    pub mode: Option<u32>,
}

impl From<Bundle> for Package {
    fn from(bundle: Bundle) -> Self {
        Self::Bundle(bundle)
    }
}

impl From<ForeignPackage> for Package {
    fn from(package: ForeignPackage) -> Self {
        Self::Foreign(package)
    }
}

impl Package {
    /// Opens a package. Reads only the start of a bundle, and all of a foreign package.
    ///
    /// A file is a bundle if its first entry is `bundle.json`. The gzip framing is not sufficient,
    /// because other tools write the same framing.
    ///
    /// # Errors
    /// The errors of [`Bundle::read`] if the first entry is `bundle.json`, otherwise those of
    /// [`ForeignPackage::read`].
    pub async fn read(source: Arc<dyn BundleSource>) -> Result<Self, Error> {
        let bundle_error = match Bundle::read(Arc::clone(&source)).await {
            Ok(bundle) => return Ok(Self::Bundle(bundle)),
            Err(error @ (Error::NotABundle { .. } | Error::Damaged { .. })) => error,
            Err(error) => return Err(error),
        };
        let is_bundle = starts_with_document(&*source).await?;
        if is_bundle && matches!(bundle_error, Error::Damaged { .. }) {
            return Err(bundle_error);
        }
        match ForeignPackage::read(Arc::clone(&source)).await {
            Ok(package) => Ok(Self::Foreign(package.with_altered_bundle_problem())),
            Err(_) if is_bundle || is_truncated(&*source).await? => Err(bundle_error),
            Err(error) => Err(error),
        }
    }

    /// Returns the bundle, if this is one.
    pub fn as_bundle(&self) -> Option<&Bundle> {
        match self {
            Self::Bundle(bundle) => Some(bundle),
            Self::Foreign(_) => None,
        }
    }

    /// Returns the package of another tool, if this is one.
    pub fn as_foreign(&self) -> Option<&ForeignPackage> {
        match self {
            Self::Bundle(_) => None,
            Self::Foreign(package) => Some(package),
        }
    }

    /// The name of the source, for messages.
    pub fn name(&self) -> String {
        self.source().name()
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bundle(bundle) => bundle.size(),
            Self::Foreign(package) => package.size(),
        }
    }

    /// The images, one for each reference.
    pub fn images(&self) -> Vec<Image<'_>> {
        match self {
            Self::Bundle(bundle) => {
                bundle.images().iter().map(|image| Image::bundled(bundle, image)).collect()
            }
            Self::Foreign(package) => {
                package.images().iter().map(|image| Image::foreign(package, image)).collect()
            }
        }
    }

    /// Finds an image by its reference or digest.
    ///
    /// `name` is the reference with or without its tag, the end of it after a `/`, or the digest.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] if no image or several images match.
    pub fn image_named(&self, name: &str) -> Result<Image<'_>, Error> {
        let mut found = self.images().into_iter().filter(|image| image.is_named(name));
        match (found.next(), found.next()) {
            (Some(image), None) => Ok(image),
            (None, _) => Err(Error::NoSuchImage { name: name.to_owned(), several: false }),
            _ => Err(Error::NoSuchImage { name: name.to_owned(), several: true }),
        }
    }

    /// The image in the image archive of a bundle at this path.
    pub fn image_at(&self, path: &str) -> Option<Image<'_>> {
        let file = self.as_bundle()?.document().files.iter().find(|file| file.path == path)?;
        let reference = &file.image.as_ref()?.reference;
        self.images().into_iter().find(|image| image.reference.to_string() == *reference)
    }

    /// The files that are not image archives.
    pub fn files(&self) -> Vec<PackageFile> {
        match self {
            Self::Bundle(bundle) => {
                let file = |file: &FileEntry| PackageFile {
                    path: file.path.clone(),
                    size: file.size,
                    digest: file.digest,
                    mode: Some(file.mode),
                };
                bundle.files().iter().map(file).collect()
            }
            Self::Foreign(package) => {
                let file = |file: &ForeignFile| PackageFile {
                    path: file.path.clone(),
                    size: file.size,
                    digest: file.digest,
                    mode: None,
                };
                package.files().iter().map(file).collect()
            }
        }
    }

    /// Reads a file that is not an image archive, and verifies it.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`]; [`Error::Damaged`] if it is too large, or does not match its digest.
    pub async fn file(&self, path: &str) -> Result<Bytes, Error> {
        match self {
            Self::Bundle(bundle) => bundle.file(path).await,
            Self::Foreign(package) => package.file(path).await,
        }
    }

    /// Returns the reasons why a foreign package cannot be installed or unpacked.
    ///
    /// Always empty for bundles, which are checked when they are opened.
    pub fn problems(&self) -> Vec<PackageProblem> {
        self.as_foreign().map(ForeignPackage::problems).unwrap_or_default()
    }

    /// Facts about a foreign package that are not problems. Always empty for bundles.
    pub fn notes(&self) -> Vec<String> {
        self.as_foreign().map(ForeignPackage::notes).unwrap_or_default()
    }

    /// One sentence for each non-distributable layer that a foreign package does not contain.
    pub fn unavailable_layers(&self) -> Vec<String> {
        self.as_foreign().map(ForeignPackage::unavailable_layers).unwrap_or_default()
    }

    /// The package as the source of its images.
    pub fn image_source(&self) -> Arc<dyn ImageSource> {
        Arc::new(self.clone())
    }

    pub(crate) fn source(&self) -> Arc<dyn BundleSource> {
        match self {
            Self::Bundle(bundle) => Arc::clone(bundle.source()),
            Self::Foreign(package) => package.source(),
        }
    }
}
