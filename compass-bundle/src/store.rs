//! Stores, to which bundles are published. Published bundles are immutable.

mod directory;
#[cfg(feature = "store")]
mod http;
#[cfg(feature = "store")]
mod min_speed;
#[cfg(feature = "store")]
mod object;
#[cfg(feature = "store")]
mod object_file;
#[cfg(feature = "store")]
mod operator;
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
pub use self::object::ObjectStore;
#[cfg(feature = "store")]
pub use self::object_file::ObjectFile;
#[cfg(feature = "store")]
pub use self::upload::{has_pending_uploads, wait_for_pending_uploads};
use crate::Error;
use crate::format::document::{BundleDocument, BundleKind};
use crate::format::naming;
#[cfg(feature = "store")]
use crate::write::{Overwrite, Target, write_with_checksum};
#[cfg(feature = "store")]
use crate::{Bundle, BundlePlan, BundleSource, LocalFile};

/// The result of publishing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// URL of the bundle in the store.
    pub url: String,
    /// Size in bytes.
    pub size: u64,
    /// Digest of the file.
    pub digest: Digest,
    /// Whether the store already contained the same bytes.
    pub present: bool,
}

/// The path of a bundle in a store (bundle format, "Store layout").
///
/// # Errors
/// [`Error::InvalidInput`] if the name or version is not a valid path component.
pub fn store_path(document: &BundleDocument) -> Result<PathBuf, Error> {
    let (name, version) = (&document.name, &document.version);
    naming::validate_name("name", name)?;
    naming::validate_name("version", version)?;
    naming::validate_platforms(&document.platforms)?;
    let file = format!("{}.tar.gz", document.stem());
    let directory = match document.kind {
        BundleKind::Plugin => Path::new("plugins").join(name),
        BundleKind::Hotfix => {
            let base = document.base_version.as_deref().unwrap_or(base_version(version));
            naming::validate_name("product version", base)?;
            Path::new("hotfixes").join("compass").join(base)
        }
        BundleKind::Product => Path::new("products").join(name).join(version),
    };
    Ok(directory.join(file))
}

/// The product version in a HOTFIXVERSION: the part before its date.
fn base_version(version: &str) -> &str {
    let date = version.match_indices('-').find(|(at, _)| {
        let rest = &version[at + 1..];
        rest.len() >= 8 && rest.bytes().take(8).all(|byte| byte.is_ascii_digit())
    });
    date.map_or(version, |(at, _)| &version[..at])
}

/// A store to which bundles are published.
#[cfg(feature = "store")]
#[derive(Debug, Clone)]
pub enum Store {
    /// A local directory.
    Directory(PathBuf),
    /// An object storage.
    Objects(ObjectStore),
}

#[cfg(feature = "store")]
impl Store {
    /// Opens a store by its URL: `file:///path`, `s3://bucket/prefix` or `oss://bucket/prefix`.
    ///
    /// Endpoints and credentials of object storages come from their usual environment variables.
    /// Sends no request.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`] if the URL or the endpoint in the environment is invalid.
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

    /// Publishes a bundle file.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the bundle does not match the `.sha256` file beside it;
    /// [`Error::Conflict`] if other bytes are published under the same name.
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

    /// Writes a planned bundle to the store without a local file.
    ///
    /// # Errors
    /// As [`Store::publish`]; errors of the source.
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
                let to = Target { path: &path, overwrite: Overwrite::No };
                let written =
                    match write_with_checksum(plan, Arc::clone(&source), to, options).await {
                        // Another process published the bundle first.
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

/// Runs blocking file I/O on a thread for blocking work.
#[cfg(feature = "store")]
async fn blocking(
    work: impl FnOnce() -> Result<Published, Error> + Send + 'static,
) -> Result<Published, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|stopped| Error::damaged(stopped.to_string()))?
}

/// Checks that a published file equals the planned bundle.
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

/// Computes the digest of a planned bundle.
#[cfg(feature = "store")]
async fn digest_of_plan(
    plan: &Arc<BundlePlan>,
    source: Arc<dyn ImageSource>,
    progress: &dyn Progress,
) -> Result<Digest, Error> {
    let mut sink = tokio::io::sink();
    let nowhere = crate::OutputStream::new(&mut sink, Path::new(""));
    crate::write_into(plan, source, nowhere, progress).await
}

/// Removes user information, query and fragment from a URL, which may contain secrets.
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

/// Whether `first`, the text before the first slash, is the start of user information.
///
/// This is the case if the password contains a slash. Otherwise the text is host and port.
#[cfg(feature = "store")]
fn is_truncated_userinfo(first: &str) -> bool {
    let port = first.rsplit_once(':').map(|(_, port)| port);
    let is_port = |port: &str| port.chars().all(|c| c.is_ascii_digit());
    !first.contains(['@', '[']) && port.is_some_and(|port| !is_port(port))
}

/// Opens a file by its path, or by a `file://`, `http://`, `https://`, `s3://` or `oss://` URL.
///
/// `policy` sets the minimum speed of remote reads.
///
/// # Errors
/// If the file does not exist, or the server does not support range requests.
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
            let reason = "expected a path, or a `file`, `http`, `https`, `s3` or `oss` URL";
            return Err(Error::invalid_address(address, reason));
        }
        _ => Arc::new(LocalFile::open(Path::new(address))?),
    })
}

/// Opens a bundle by path or URL; see [`open_source`].
///
/// # Errors
/// As [`open_source`] and [`Bundle::read`].
#[cfg(feature = "store")]
pub async fn open(address: &str) -> Result<Bundle, Error> {
    Bundle::read(open_source(address, &RetryPolicy::default()).await?).await
}

#[cfg(all(test, feature = "store"))]
mod tests {
    use super::redact_url;

    #[test]
    fn redact_url_removes_credentials() {
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
