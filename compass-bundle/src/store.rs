//! Stores: where bundles are published, and read from again. Published bundles never change.

mod directory;
#[cfg(feature = "store")]
mod http;
#[cfg(feature = "store")]
mod min_speed;
#[cfg(feature = "store")]
mod object;
#[cfg(feature = "store")]
mod storage_error;
#[cfg(feature = "store")]
mod upload;

use std::path::{Path, PathBuf};
#[cfg(feature = "store")]
use std::sync::Arc;

use compass_registry::Digest;
#[cfg(feature = "store")]
use compass_registry::{ImageSource, Progress, RetryPolicy};

pub use self::directory::publish;
#[cfg(feature = "store")]
pub use self::http::HttpFile;
#[cfg(feature = "store")]
use self::min_speed::MinSpeedSource;
#[cfg(feature = "store")]
pub(crate) use self::min_speed::TooSlow;
#[cfg(feature = "store")]
pub use self::object::{ObjectFile, ObjectStore};
#[cfg(feature = "store")]
pub use self::upload::{has_pending_uploads, wait_for_pending_uploads};
use crate::document::{BundleDocument, BundleKind};
#[cfg(feature = "store")]
use crate::write::{Existing, write_beside};
#[cfg(feature = "store")]
use crate::{Bundle, BundlePlan, BundleSource, LocalFile};
use crate::{Error, naming};

/// What publishing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The address of the bundle in the store.
    pub url: String,
    /// Bytes.
    pub size: u64,
    /// Digest of the file.
    pub digest: Digest,
    /// Whether the same bytes were there already.
    pub present: bool,
}

/// The path of a bundle below its store (bundle format, "Store layout").
///
/// # Errors
/// [`Error::InvalidInput`] where the name or the version is more than one step of a path.
pub fn store_path(document: &BundleDocument) -> Result<PathBuf, Error> {
    let (name, version) = (&document.name, &document.version);
    naming::validate_name("name", name)?;
    naming::validate_name("version", version)?;
    naming::validate_platforms(&document.platforms)?;
    let file = format!("{}.tar.gz", document.stem());
    let directory = match document.kind {
        BundleKind::Plugin => Path::new("plugins").join(name),
        BundleKind::Hotfix => {
            let base = document.base.as_deref().unwrap_or(base_version(version));
            naming::validate_name("product version", base)?;
            Path::new("hotfixes").join("compass").join(base)
        }
        BundleKind::Product => Path::new("products").join(name).join(version),
    };
    Ok(directory.join(file))
}

/// The product version that a HOTFIXVERSION is for: what stands before its date.
fn base_version(version: &str) -> &str {
    let date = version.match_indices('-').find(|(at, _)| {
        let rest = &version[at + 1..];
        rest.len() >= 8 && rest.bytes().take(8).all(|byte| byte.is_ascii_digit())
    });
    date.map_or(version, |(at, _)| &version[..at])
}

/// A place that bundles are published to.
#[cfg(feature = "store")]
#[derive(Debug, Clone)]
pub enum Store {
    /// A directory on this machine.
    Directory(PathBuf),
    /// An object storage.
    Objects(ObjectStore),
}

#[cfg(feature = "store")]
impl Store {
    /// Opens a store by its address: `file:///path`, `s3://bucket/prefix`, `oss://bucket/prefix`.
    /// Endpoints and credentials of object storages come from the environment, as their own tools
    /// take them. Nothing is asked for yet.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`].
    pub fn open(address: &str) -> Result<Self, Error> {
        match address.split_once("://") {
            Some(("file", path)) if path.starts_with('/') => Ok(Self::Directory(path.into())),
            Some(("file", _)) => Err(Error::invalid_address(
                address,
                "not an absolute path: write three slashes, `file:///path`",
            )),
            Some(("s3" | "oss", _)) => Ok(Self::Objects(ObjectStore::open(address)?)),
            _ => Err(Error::invalid_address(
                address,
                "expected `file:///path`, `s3://bucket` or `oss://bucket`",
            )),
        }
    }

    /// Publishes a bundle that is a file.
    ///
    /// # Errors
    /// [`Error::Conflict`] where other bytes are published under that name.
    pub async fn publish(
        &self,
        bundle: &Path,
        document: &BundleDocument,
        progress: Arc<dyn Progress>,
    ) -> Result<Published, Error> {
        match self {
            Self::Directory(directory) => {
                let (bundle, document) = (bundle.to_owned(), document.clone());
                let store = directory.clone();
                blocking(move || publish(&bundle, &document, &store, &*progress)).await
            }
            Self::Objects(objects) => objects.publish(bundle, document, progress).await,
        }
    }

    /// Writes a planned bundle straight into an object storage, without a file in between.
    ///
    /// # Errors
    /// As [`Store::publish`], and what the source reports.
    pub async fn write(
        &self,
        plan: &Arc<BundlePlan>,
        source: Arc<dyn ImageSource>,
        options: &crate::WriteOptions,
    ) -> Result<Published, Error> {
        match self {
            Self::Directory(directory) => {
                let path = directory.join(store_path(plan.document())?);
                if let Ok(existing) = path.metadata() {
                    if existing.len() != plan.size() {
                        return Err(Error::Conflict { path: path.display().to_string() });
                    }
                    return confirm_matches_plan(path, plan, source, options).await;
                }
                let parent = path.parent().unwrap_or(directory);
                std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
                let to = (&*path, Existing::Kept);
                let written = match write_beside(plan, Arc::clone(&source), to, options).await {
                    // Somebody was faster.
                    Err(Error::AlreadyExists { .. }) if path.is_file() => {
                        return confirm_matches_plan(path, plan, source, options).await;
                    }
                    written => written?,
                };
                let url = format!("file://{}", written.path.display());
                Ok(Published { url, size: written.size, digest: written.digest, present: false })
            }
            Self::Objects(objects) => objects.write(plan, source, &*options.progress).await,
        }
    }
}

/// Reads and writes files where that holds nobody up.
#[cfg(feature = "store")]
async fn blocking(
    work: impl FnOnce() -> Result<Published, Error> + Send + 'static,
) -> Result<Published, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|stopped| Error::damaged(stopped.to_string()))?
}

/// Requires that a published file is what would be written.
#[cfg(feature = "store")]
async fn confirm_matches_plan(
    path: PathBuf,
    plan: &Arc<BundlePlan>,
    source: Arc<dyn ImageSource>,
    options: &crate::WriteOptions,
) -> Result<Published, Error> {
    let progress = Arc::clone(&options.progress);
    let digest = digest_of_plan(plan, source, &*progress).await?;
    blocking(move || directory::confirm_identical(&path, digest, &*progress)).await
}

/// The digest that a planned bundle has when it is written.
#[cfg(feature = "store")]
async fn digest_of_plan(
    plan: &Arc<BundlePlan>,
    source: Arc<dyn ImageSource>,
    progress: &dyn Progress,
) -> Result<Digest, Error> {
    let nowhere = (&mut tokio::io::sink() as _, Path::new(""));
    crate::write_into(plan, source, nowhere, progress).await
}

/// An address as it may be shown: who logs in is left away, and what comes after `?`, which is often
/// a signature.
#[cfg(feature = "store")]
pub fn redact_url(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let first = rest.split('/').next().unwrap_or_default();
    let start =
        if is_truncated_userinfo(first) { rest.rfind('@').map_or(0, |at| at + 1) } else { 0 };
    let rest = &rest[start..];
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// Whether what stands before the first slash is not a host and its port, but the begin of a login
/// whose password has that slash in it.
#[cfg(feature = "store")]
fn is_truncated_userinfo(first: &str) -> bool {
    let port = first.rsplit_once(':').map(|(_, port)| port);
    let is_port = |port: &str| port.chars().all(|c| c.is_ascii_digit());
    !first.contains(['@', '[']) && port.is_some_and(|port| !is_port(port))
}

/// Opens what a bundle is read from: a path, or an address that begins with `file://`, `http://`,
/// `https://`, `s3://` or `oss://`. The policy says how slow a server may be.
///
/// # Errors
/// Where it is not existing, or cannot be read in parts.
#[cfg(feature = "store")]
pub async fn open_source(
    address: &str,
    policy: &RetryPolicy,
) -> Result<Arc<dyn BundleSource>, Error> {
    Ok(match address.split_once("://") {
        Some(("http" | "https", _)) => {
            MinSpeedSource::open(address, policy, HttpFile::open(address)).await?
        }
        Some(("s3" | "oss", _)) => {
            MinSpeedSource::open(address, policy, ObjectFile::open(address)).await?
        }
        Some(("file", path)) => Arc::new(LocalFile::open(Path::new(path))?),
        Some(_) if !Path::new(address).exists() => {
            let reason = "expected a path, or an address of `file`, `http`, `https`, `s3` or `oss`";
            return Err(Error::invalid_address(address, reason));
        }
        _ => Arc::new(LocalFile::open(Path::new(address))?),
    })
}

/// Opens a bundle by path or address; see [`open_source`].
///
/// # Errors
/// As [`open_source`] and [`Bundle::open`].
#[cfg(feature = "store")]
pub async fn open(address: &str) -> Result<Bundle, Error> {
    Bundle::read(open_source(address, &RetryPolicy::default()).await?).await
}

#[cfg(all(test, feature = "store"))]
mod tests {
    use super::redact_url;

    #[test]
    fn addresses_are_shown_without_what_logs_in() {
        for (address, shown) in [
            ("http://token@host/a", "http://host/a"),
            ("http://user:p@ss@host:99999/a?sig=x", "http://host:99999/a"),
            ("https://me:p/w@host/x", "https://host/x"),
            ("https://me:p/w/x", "https://me:p/w/x"),
            ("http://host:8080/a@b", "http://host:8080/a@b"),
            ("http://[::1]:8080/a@b", "http://[::1]:8080/a@b"),
            ("https://host/a@b#c", "https://host/a@b"),
            ("s3://bucket", "s3://bucket"),
            ("out/a#b.tar.gz", "out/a#b.tar.gz"),
        ] {
            assert_eq!(redact_url(address), shown);
        }
    }
}
