//! A store in a local directory.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use compass_registry::{Digest, Hasher, ImageSource, Progress};

use super::stored_bundle::{StoredBundle, StoredFile, parse_path};
use super::{PublishOptions, Published, Store, store_path};
use crate::format::document::BundleDocument;
use crate::part_file::PartFile;
use crate::read::{check_sidecar, read_checksum};
use crate::write::{Overwrite, Target, write_checksum, write_into, write_with_checksum};
use crate::{BundlePlan, Error, OutputStream, WriteOptions};

/// Bytes per read and write.
const CHUNK: usize = 512 << 10;

/// Directories between a store and its bundles.
const DEPTH: usize = 3;

/// A store in a local directory, which is created if it does not exist.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    directory: PathBuf,
}

impl DirectoryStore {
    /// Opens the store in a directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }
}

#[async_trait]
impl Store for DirectoryStore {
    fn url(&self) -> String {
        url(&self.directory)
    }

    async fn publish(
        &self,
        bundle: &Path,
        document: &BundleDocument,
        options: &PublishOptions,
    ) -> Result<Published, Error> {
        let path = self.directory.join(store_path(document)?);
        let (bundle, progress) = (bundle.to_owned(), Arc::clone(&options.progress));
        blocking(move || publish(&bundle, &path, &*progress)).await
    }

    async fn write(
        &self,
        plan: &Arc<BundlePlan>,
        source: Arc<dyn ImageSource>,
        options: &WriteOptions,
    ) -> Result<Published, Error> {
        let path = self.directory.join(store_path(plan.document())?);
        if let Ok(existing) = path.metadata() {
            if existing.len() != plan.size() {
                return Err(Error::Conflict { path: path.display().to_string() });
            }
            return confirm_matches_plan(path, plan, source, options).await;
        }
        let parent = path.parent().unwrap_or(&self.directory);
        std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        let to = Target { path: &path, overwrite: Overwrite::No };
        match write_with_checksum(plan, Arc::clone(&source), to, options).await {
            // Another process published the bundle first.
            Err(Error::AlreadyExists { .. }) if path.is_file() => {
                confirm_matches_plan(path, plan, source, options).await
            }
            Ok(written) => {
                let size = written.size;
                Ok(Published::new(url(&written.path), size, written.digest, Some(size)))
            }
            Err(error) => Err(error),
        }
    }

    async fn list(&self) -> Result<Vec<StoredBundle>, Error> {
        let directory = self.directory.clone();
        blocking(move || list(&directory)).await
    }

    async fn find(&self, document: &BundleDocument) -> Result<Option<StoredFile>, Error> {
        let path = self.directory.join(store_path(document)?);
        blocking(move || {
            if !path.is_file() {
                return Ok(None);
            }
            let digest = read_checksum(&path).unwrap_or_default();
            Ok(Some(StoredFile { url: url(&path), size: size(&path)?, digest }))
        })
        .await
    }
}

/// Runs blocking file I/O on a thread for blocking work.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|stopped| Error::damaged(stopped.to_string()))?
}

/// Copies a bundle to `path`, or compares it with the published one. Blocking.
fn publish(bundle: &Path, path: &Path, progress: &dyn Progress) -> Result<Published, Error> {
    if path.exists() {
        let digest = digest_of(bundle, progress)?;
        check_sidecar(bundle, digest)?;
        return confirm_identical(path, digest, progress);
    }
    let directory = path.parent().unwrap_or(path);
    std::fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    let mut part = PartFile::create(path)?;
    part.no_clobber();
    // Another process may have published it before this one got the lock.
    if path.exists() {
        drop(part);
        return publish(bundle, path, progress);
    }
    let mut copy = part.handle()?;
    let digest =
        read(bundle, progress, |chunk| copy.write_all(chunk).map_err(Error::io("write", path)))?;
    check_sidecar(bundle, digest)?;
    match part.finish() {
        Err(Error::AlreadyExists { .. }) if path.is_file() => {
            return confirm_identical(path, digest, progress);
        }
        finished => finished?,
    }
    write_checksum(path, digest)?;
    let size = size(path)?;
    Ok(Published::new(url(path), size, digest, Some(size)))
}

/// Checks that a published file equals the planned bundle.
async fn confirm_matches_plan(
    path: PathBuf,
    plan: &Arc<BundlePlan>,
    source: Arc<dyn ImageSource>,
    options: &WriteOptions,
) -> Result<Published, Error> {
    let progress = Arc::clone(&options.progress);
    let mut sink = tokio::io::sink();
    let nowhere = OutputStream::new(&mut sink, Path::new(""));
    let digest = write_into(plan, source, nowhere, &*progress).await?;
    blocking(move || confirm_identical(&path, digest, &*progress)).await
}

/// Checks that the published file has the expected digest. Blocking.
fn confirm_identical(
    path: &Path,
    digest: Digest,
    progress: &dyn Progress,
) -> Result<Published, Error> {
    if digest_of(path, progress)? != digest {
        return Err(Error::Conflict { path: path.display().to_string() });
    }
    write_checksum(path, digest)?;
    Ok(Published::new(url(path), size(path)?, digest, None))
}

/// Lists the published bundles. Blocking.
fn list(store: &Path) -> Result<Vec<StoredBundle>, Error> {
    let (mut bundles, mut left) = (Vec::new(), vec![(store.to_owned(), 0)]);
    while let Some((directory, depth)) = left.pop() {
        let entries = std::fs::read_dir(&directory).map_err(Error::io("list", &directory))?;
        for entry in entries {
            let entry = entry.map_err(Error::io("list", &directory))?;
            let (path, kind) = (entry.path(), entry.file_type());
            let kind = kind.map_err(Error::io("list", &path))?;
            if kind.is_dir() && depth < DEPTH {
                left.push((path, depth + 1));
            } else if kind.is_file() {
                bundles.extend(stored_bundle(store, &path)?);
            }
        }
    }
    bundles.sort_by(|one, other| one.url.cmp(&other.url));
    Ok(bundles)
}

/// Describes a file of the store. Returns `None` if it is not a bundle.
fn stored_bundle(store: &Path, path: &Path) -> Result<Option<StoredBundle>, Error> {
    let relative = path.strip_prefix(store).unwrap_or(path);
    let Some((kind, name, version)) = parse_path(&relative.display().to_string()) else {
        return Ok(None);
    };
    let published = path.metadata().and_then(|metadata| metadata.modified());
    let published = published.map_err(Error::io("read", path))?;
    let (url, size, digest) = (url(path), size(path)?, read_checksum(path).unwrap_or_default());
    Ok(Some(StoredBundle {
        kind,
        name,
        version,
        url,
        size,
        published: rfc_3339(published),
        digest,
    }))
}

/// Formats a time in UTC, without fractions of seconds.
fn rfc_3339(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    // Days to civil date, with years that begin in March (Howard Hinnant, "chrono-Compatible
    // Low-Level Date Algorithms").
    let shifted = day + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}

fn size(path: &Path) -> Result<u64, Error> {
    Ok(path.metadata().map_err(Error::io("read", path))?.len())
}

fn digest_of(path: &Path, progress: &dyn Progress) -> Result<Digest, Error> {
    read(path, progress, |_| Ok(()))
}

/// Reads a file once, and returns its digest.
fn read(
    path: &Path,
    progress: &dyn Progress,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Digest, Error> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    progress.add_total(file.metadata().map_err(Error::io("open", path))?.len());
    let mut hasher = Hasher::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = file.read(&mut chunk).map_err(Error::io("read", path))?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&chunk[..count]);
        take(&chunk[..count])?;
        progress.advance(count as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rfc_3339_formats_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_702_743_657, "2023-12-16T16:20:57Z"),
        ] {
            assert_eq!(rfc_3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
