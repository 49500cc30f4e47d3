//! Extraction of several images as one archive for container runtimes.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;

use compass_registry::{
    Descriptor, Digest, Platform, Progress, Reference, RegistryPrefix, VerifiedBlob, open_blob,
};
use futures_util::StreamExt as _;

use super::check_absent;
use crate::Error;
use crate::foreign::ForeignPackage;
use crate::foreign::reader::byte_stream;
use crate::foreign::sequential_blobs::SequentialBlobs;
use crate::format::tar_entry;
use crate::install::check_tag_collisions;
use crate::package::{Backend, Image};
use crate::part_file::{rename_to_new, sync_directory_of, temp_sibling};
use crate::plan::archive::begin_set;
use crate::plan::image::ArchiveImage;
use crate::plan::tar::{Part, blob_path};
use crate::write::OutputStream;

/// Writes images of one package as an uncompressed archive, which `docker load`, `podman load` and
/// `ctr images import` read. Returns its size in bytes.
///
/// The archive has each blob once. With `place`, the images get the names that
/// [`install`](crate::install()) gives them. Of a bundle, the blobs are read at their offsets; a
/// foreign package is read once.
///
/// # Errors
/// [`Error::InvalidInput`] if two images would get the same name; [`Error::Damaged`] if an image has
/// a problem; errors of reading and writing.
pub async fn stream_images(
    images: &[Image<'_>],
    place: Option<&RegistryPrefix>,
    output: OutputStream<'_>,
    progress: &dyn Progress,
) -> Result<u64, Error> {
    let Some(first) = images.first() else {
        return Err(Error::InvalidInput("there is no image to extract".to_owned()));
    };
    let archived = renamed(images, place).await?;
    let modified = first.modified();
    let (parts, blobs) = begin_set(&archived, modified)?;
    let mut archive = SetWriter { output, progress, modified, size: 0 };
    progress.add_total(total_size(&parts, &blobs, modified)?);
    for part in &parts {
        if let Part::Bytes(bytes) | Part::Manifest(bytes) = part {
            archive.write(bytes).await?;
        }
    }
    let owners = owners(&archived)?;
    match first.backend {
        Backend::Bundle(bundle, _) => {
            for blob in &blobs {
                let owner = owners[&blob.digest];
                let source = std::sync::Arc::new(bundle.clone());
                archive.blob(open_blob(source, &owner.repository, blob), &owner.reference).await?;
            }
        }
        Backend::Foreign(package, _) => archive.blobs_in_order(package, &blobs, &owners).await?,
    }
    archive.finish().await
}

/// Writes images to a file, as [`stream_images`] does. The file appears when it is complete.
///
/// # Errors
/// [`Error::AlreadyExists`] if the path exists, and as [`stream_images`].
pub async fn write_images(
    images: &[Image<'_>],
    place: Option<&RegistryPrefix>,
    path: &Path,
    progress: &dyn Progress,
) -> Result<u64, Error> {
    check_absent(path)?;
    let part = temp_sibling(path, 0o644).map_err(Error::io("create", path))?;
    let file = part.as_file().try_clone().map_err(Error::io("write", path))?;
    let mut file = tokio::fs::File::from_std(file);
    let size = stream_images(images, place, OutputStream::new(&mut file, path), progress).await?;
    file.sync_all().await.map_err(Error::io("write", path))?;
    rename_to_new(part.path(), path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path: path.display().to_string() },
        _ => Error::io("create", path)(error),
    })?;
    sync_directory_of(path)?;
    Ok(size)
}

/// The images with their new names, each name once.
async fn renamed(
    images: &[Image<'_>],
    place: Option<&RegistryPrefix>,
) -> Result<Vec<(ArchiveImage, Platform)>, Error> {
    if let Some(place) = place {
        check_tag_collisions(images, place)?;
    }
    let (mut renamed, mut seen) = (Vec::new(), HashSet::new());
    for image in images {
        let (mut archived, platform) = image.archived().await?;
        if let Some(place) = place {
            archived.reference = archived.reference.rebase(place)?;
        }
        archived.reference = archived.reference.with_default_tag();
        if seen.insert((archived.reference.clone(), archived.root.digest())) {
            renamed.push((archived, platform));
        }
    }
    Ok(renamed)
}

/// The first image that has each blob.
fn owners(images: &[(ArchiveImage, Platform)]) -> Result<HashMap<Digest, &ArchiveImage>, Error> {
    let mut owners = HashMap::new();
    for (image, _) in images {
        for blob in image.blobs()? {
            owners.entry(blob.digest).or_insert(image);
        }
    }
    Ok(owners)
}

fn total_size(parts: &[Part], blobs: &[Descriptor], modified: u64) -> Result<u64, Error> {
    let mut total = parts.iter().map(Part::size).sum::<u64>() + tar_entry::END as u64;
    for blob in blobs {
        let header = blob_header(blob, modified)?.len() as u64;
        total += header + blob.size + tar_entry::padding(blob.size).len() as u64;
    }
    Ok(total)
}

fn blob_header(blob: &Descriptor, modified: u64) -> Result<Vec<u8>, Error> {
    tar_entry::file(&blob_path(blob), tar_entry::FILE_MODE, blob.size, modified)
}

/// An archive that is being written.
struct SetWriter<'w, 'p> {
    output: OutputStream<'w>,
    progress: &'p dyn Progress,
    modified: u64,
    /// Bytes so far.
    size: u64,
}

impl SetWriter<'_, '_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.output.write(bytes).await?;
        self.size += bytes.len() as u64;
        self.progress.advance(bytes.len() as u64);
        Ok(())
    }

    /// Writes the entry of a blob. `reference` names the image in errors.
    async fn blob(&mut self, mut blob: VerifiedBlob, reference: &Reference) -> Result<(), Error> {
        let descriptor = blob.descriptor().clone();
        self.write(&blob_header(&descriptor, self.modified)?).await?;
        while let Some(bytes) = blob.next().await {
            let bytes = bytes.map_err(|error| error.in_blob(reference, descriptor.digest))?;
            self.write(&bytes).await?;
        }
        self.write(tar_entry::padding(descriptor.size)).await
    }

    /// Writes the blobs of a package in the order of its file.
    async fn blobs_in_order(
        &mut self,
        package: &ForeignPackage,
        blobs: &[Descriptor],
        owners: &HashMap<Digest, &ArchiveImage>,
    ) -> Result<(), Error> {
        let mut missing: HashMap<_, _> = blobs.iter().map(|blob| (blob.digest, blob)).collect();
        let mut read = SequentialBlobs::open(package).await?;
        while !missing.is_empty() {
            let next = read.next().await.map_err(|error| Error::reading(&package.name(), error))?;
            let Some((digest, reader)) = next else { break };
            let Some(blob) = missing.remove(&digest) else { continue };
            let what = format!("{digest} in {}", package.name());
            let content = VerifiedBlob::new(what.clone(), blob.clone(), byte_stream(reader, what));
            self.blob(content, &owners[&digest].reference).await?;
        }
        match missing.keys().next() {
            None => Ok(()),
            Some(digest) => {
                Err(Error::damaged(format!("{}: blob {digest} is missing", package.name())))
            }
        }
    }

    async fn finish(mut self) -> Result<u64, Error> {
        self.write(&[0; tar_entry::END]).await?;
        self.output.flush().await?;
        Ok(self.size)
    }
}
