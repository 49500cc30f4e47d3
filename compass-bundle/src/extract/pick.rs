//! Extraction of single images and small files.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use compass_registry::{Digest, Platform, Progress, Reference};
use tokio::io::{AsyncReadExt as _, AsyncWrite};

use super::write_below;
use crate::Error;
use crate::foreign::decompress::{Decompressed, decompress, reader_of};
use crate::foreign::limits::Limits;
use crate::foreign::tar_entries::{TarEntries, TarEntry};
use crate::foreign::{ForeignFile, ForeignImage, ForeignPackage, no_archive};
use crate::plan::BundlePlan;
use crate::plan::image::{ArchiveImage, entries_of};
use crate::plan::platforms::Platforms;
use crate::read::{Bundle, MAX_FILE};
use crate::write::{self, Overwrite, WriteOptions, write_into};

impl Bundle {
    /// Finds an image by its reference, with or without the tag; by the last components of the
    /// reference; or by its digest.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] if no image or several images match.
    pub fn image_named(&self, name: &str) -> Result<&ArchiveImage, Error> {
        find_by_name(self.images(), name, |image| (&image.reference, image.root.digest()))
    }

    /// Writes an image archive in the format of plugin bundles. Returns its size in bytes.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if the path exists; errors of reading and writing.
    pub async fn write_archive(
        &self,
        image: &ArchiveImage,
        path: &Path,
        options: &WriteOptions,
    ) -> Result<u64, Error> {
        check_absent(path)?;
        let plan = self.archive_plan(image)?;
        let to = (path, Overwrite::No);
        write::file::write(&plan, Arc::new(self.clone()), to, options).await?;
        Ok(plan.size())
    }

    /// Writes an image archive to a stream; the path names the stream in errors. Returns its size
    /// in bytes.
    ///
    /// # Errors
    /// Errors of reading and writing.
    pub async fn stream_archive(
        &self,
        image: &ArchiveImage,
        to: (&mut (dyn AsyncWrite + Unpin + Send), &Path),
        progress: &dyn Progress,
    ) -> Result<u64, Error> {
        let plan = Arc::new(self.archive_plan(image)?);
        write_into(&plan, Arc::new(self.clone()), to, progress).await?;
        Ok(plan.size())
    }

    fn archive_plan(&self, image: &ArchiveImage) -> Result<BundlePlan, Error> {
        BundlePlan::archive(image, &self.single_platform(), self.document().modified)
    }
}

impl ForeignPackage {
    /// Finds an image, as [`Bundle::image_named`] does.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] if no image or several images match.
    pub fn image_named(&self, name: &str) -> Result<&ForeignImage, Error> {
        find_by_name(self.images(), name, |image| (&image.reference, image.root.digest()))
    }

    /// Writes an image archive in the format of plugin bundles, whatever its format in the package.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the image has a problem; as [`Bundle::write_archive`].
    pub async fn write_archive(
        &self,
        image: &ForeignImage,
        path: &Path,
        options: &WriteOptions,
    ) -> Result<u64, Error> {
        check_absent(path)?;
        let plan = self.archive_plan(image).await?;
        // Each layer is read from the start of the file on: concurrent reads would slow each other
        // down.
        let options = WriteOptions { jobs: 1, ..options.clone() };
        let to = (path, Overwrite::No);
        write::file::write(&plan, Arc::new(self.clone()), to, &options).await?;
        Ok(plan.size())
    }

    /// Writes an image archive to a stream, as [`Bundle::stream_archive`] does.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the image has a problem; as [`Bundle::stream_archive`].
    pub async fn stream_archive(
        &self,
        image: &ForeignImage,
        to: (&mut (dyn AsyncWrite + Unpin + Send), &Path),
        progress: &dyn Progress,
    ) -> Result<u64, Error> {
        let plan = Arc::new(self.archive_plan(image).await?);
        write_into(&plan, Arc::new(self.clone()), to, progress).await?;
        Ok(plan.size())
    }

    async fn archive_plan(&self, image: &ForeignImage) -> Result<BundlePlan, Error> {
        if let Some(problem) = image.problems.first() {
            return Err(Error::damaged(problem));
        }
        let (absent, first) = platforms_of(image)?;
        let platforms = Platforms::All(first);
        let mut image = ArchiveImage {
            reference: image.reference.clone(),
            repository: image.reference.repository().clone(),
            platform: (!image.root.is_index()).then(|| platforms.single().clone()),
            root: image.root.clone(),
            children: image.children.clone(),
            absent,
            unavailable: Vec::new(),
        };
        image.ask_platform(self, &platforms).await?;
        image.ask_unavailable(self).await?;
        let platform = image.platform.as_ref().unwrap_or(platforms.single());
        BundlePlan::archive(&image, platform, 0)
    }

    /// Reads a file that is not an image archive.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`]; [`Error::Damaged`] if it is too large, or has changed since the
    /// package was opened.
    pub async fn file(&self, path: &str) -> Result<Bytes, Error> {
        let missing = || Error::NoSuchFile { path: path.to_owned() };
        let file = self.files().iter().find(|file| file.path == path).ok_or_else(missing)?;
        let mut entries = self.entries().await?;
        while let Some(entry) = entries.next().await.map_err(|error| self.broken(error))? {
            if entry.is_file() && entry.path.text == self.target_of(path) {
                return self.content(file, entry).await;
            }
        }
        Err(missing())
    }

    /// Writes all files that are not image archives below a directory. Returns their paths.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if one of them exists; as [`ForeignPackage::file`].
    pub async fn write_files(&self, directory: &Path) -> Result<Vec<PathBuf>, Error> {
        let mut named: HashMap<&str, Vec<&ForeignFile>> = HashMap::new();
        for file in self.files() {
            named.entry(self.target_of(&file.path)).or_default().push(file);
        }
        let mut paths = Vec::new();
        let mut entries = self.entries().await?;
        while let Some(entry) = entries.next().await.map_err(|error| self.broken(error))? {
            let files = named.get(entry.path.text.as_str()).filter(|_| entry.is_file());
            let Some(files) = files.filter(|files| !files.is_empty()) else { continue };
            if let Some(reason) = entry.unsafe_reason() {
                let path = entry.path.text.escape_debug();
                return Err(Error::damaged(format!("{}: `{path}` {reason}", self.name())));
            }
            let (path, mode) = (entry.path.clone(), entry.mode);
            let bytes = self.content(files[0], entry).await?;
            for file in files {
                // A file of another path is a link to this entry.
                let own = if file.path == path.text { &path.bytes } else { file.path.as_bytes() };
                let own = Path::new(OsStr::from_bytes(own));
                write_below(directory, own, &bytes, mode)?;
                paths.push(directory.join(own));
            }
        }
        Ok(paths)
    }

    async fn entries(&self) -> Result<TarEntries, Error> {
        let (limits, source) = (Limits::default(), reader_of(self.source()));
        match decompress(source, &limits).await.map_err(|error| self.broken(error))? {
            Decompressed::Tar(tar) => {
                TarEntries::new(tar, &limits).await.map_err(|error| self.broken(error))
            }
            Decompressed::Other { unsupported } => Err(no_archive(&self.name(), unsupported)),
        }
    }

    async fn content(&self, file: &ForeignFile, entry: TarEntry) -> Result<Bytes, Error> {
        let damaged = |what: &str| Error::damaged(format!("{}: {} {what}", self.name(), file.path));
        if file.size > MAX_FILE {
            return Err(damaged("is too large to be read into memory"));
        }
        let mut bytes = Vec::new();
        let mut content = entry.into_reader().take(file.size + 1);
        content.read_to_end(&mut bytes).await.map_err(|error| self.broken(error))?;
        if Digest::of(&bytes) != file.digest {
            return Err(damaged("has changed since the package was opened"));
        }
        Ok(bytes.into())
    }

    fn broken(&self, error: std::io::Error) -> Error {
        Error::reading(&self.name(), error)
    }
}

/// The platforms that the package omits from an index, and the platform of the first image, which
/// tools without index support load.
fn platforms_of(image: &ForeignImage) -> Result<(Vec<Platform>, Platform), Error> {
    let (mut absent, mut first) = (Vec::new(), None);
    for manifest in image.manifests() {
        for entry in entries_of(manifest)? {
            match image.children.iter().find(|child| child.digest() == entry.digest) {
                None => absent.extend(entry.platform),
                Some(child) if child.is_index() => {}
                Some(_) => first = first.or(entry.platform),
            }
        }
    }
    let first = first.map_or_else(|| "linux/amd64".parse(), Ok)?;
    Ok((absent, first))
}

fn find_by_name<'i, I>(
    images: &'i [I],
    name: &str,
    of: impl Fn(&I) -> (&Reference, Digest),
) -> Result<&'i I, Error> {
    let fits = |image: &&I| {
        let (reference, digest) = of(image);
        let untagged = format!("{}/{}", reference.host(), reference.repository());
        let ends = |whole: &str| {
            whole.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        };
        ends(&reference.to_string()) || ends(&untagged) || digest.to_string() == name
    };
    let mut found = images.iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(image), None) => Ok(image),
        (None, _) => Err(Error::NoSuchImage { name: name.to_owned(), several: false }),
        _ => Err(Error::NoSuchImage { name: name.to_owned(), several: true }),
    }
}

pub(super) fn check_absent(path: &Path) -> Result<(), Error> {
    match path.symlink_metadata() {
        Ok(_) => Err(Error::AlreadyExists { path: path.display().to_string() }),
        Err(_) => Ok(()),
    }
}
