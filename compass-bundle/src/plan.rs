//! Plans a bundle: all its bytes in order, or their size and digest if they are not read yet.
//!
//! No I/O. Equal contents give equal plans, and equal plans give equal bytes.

pub(crate) mod archive;
pub(crate) mod configs;
pub(crate) mod contents;
pub(crate) mod image;
pub(crate) mod members;
pub(crate) mod platforms;
mod resolve;
pub(crate) mod store;
pub(crate) mod tar;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use compass_registry::{Descriptor, Digest, Platform, Repository};

use self::archive::Archive;
use self::configs::PlannedConfig;
use self::contents::{ARCHIVES, BundleContents, FileEntry};
use self::image::{ArchiveImage, share_available_layers};
use self::members::{MemberList, PlannedMember};
use self::tar::TarLayout;
use crate::Error;
use crate::format::document::{
    self, BundleDocument, BundleFile, BundleKind, FORMAT_VERSION, ImageStore,
};
use crate::format::{naming, tar_entry};

/// A bundle before it is written, with all sizes and offsets.
#[derive(Debug, Clone)]
pub struct BundlePlan {
    stem: String,
    document: BundleDocument,
    size: u64,
    files: Vec<FileEntry>,
    archives: Vec<PlannedArchive>,
    blobs: Vec<PlannedBlob>,
    members: Vec<PlannedMember>,
    /// The configurations that are compared with the layers of their images.
    configs: Vec<PlannedConfig>,
}

/// An image archive in a bundle.
#[derive(Debug, Clone)]
pub(crate) struct PlannedArchive {
    pub(crate) path: String,
    pub(crate) reference: String,
}

/// A blob of a bundle.
#[derive(Debug, Clone)]
pub(crate) struct PlannedBlob {
    pub(crate) descriptor: Descriptor,
    /// The repository to read it from.
    pub(crate) repository: Repository,
    /// The first image that needs it.
    pub(crate) reference: String,
    /// Indexes of the members that hold it, at least one.
    pub(crate) places: Vec<usize>,
}

impl BundlePlan {
    /// Plans a bundle.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if a name leaves the directory of the bundle, occurs twice or is too long
    /// for tar, or if `bundle.json` or the image manifests are larger than readers accept.
    pub fn new(contents: &BundleContents) -> Result<Self, Error> {
        contents.validate()?;
        contents.check_manifests_size()?;
        let (stem, modified) = (contents.stem(), contents.modified);
        let (shared, platform) = (share_available_layers(&contents.images)?, &contents.platform);
        let images = &shared[..];
        let layout = |image| archive::layout(image, platform, modified);
        let archived = if contents.has_archives() { images } else { &[] };
        let archives = archived.iter().map(layout).collect::<Result<Vec<_>, _>>()?;
        let store = contents.has_store().then(|| store::layout(&stem, images, platform, modified));
        let store = store.transpose()?;

        let mut files: Vec<_> = contents.files.iter().map(small_file).collect();
        let archived = archive_files(contents, &archives);
        let mut paths = HashSet::new();
        if let Some(twice) = archived.iter().find(|file| !paths.insert(file.path.as_str())) {
            let image = twice.image.as_ref().map_or("", |image| image.reference.as_str());
            return Err(Error::InvalidInput(format!("{image} is listed twice")));
        }
        files.extend(archived);
        let described_store = store.as_ref().map(|store| store.described.clone());
        let document = document_of(contents, files, described_store);
        document.check_limits()?;
        let described = document.to_bytes();
        contents::check_document_size(described.len())?;
        let mut tar = TarLayout::new(format!("{stem}/"), modified);
        for (index, file) in contents.files.iter().enumerate() {
            tar.small_file(index, file)?;
        }
        if let Some(store) = store {
            tar.extend(store.parts);
        }
        for (index, file) in document.archives().enumerate() {
            tar.archive(&file.path, index, file.size)?;
        }
        let parts = tar.end()?;
        let planned_archives = document.archives().zip(images).map(|(file, image)| {
            let (path, reference) = (file.path.clone(), image.reference.to_string());
            PlannedArchive { path, reference }
        });
        let planned_archives = planned_archives.collect();
        let owners = BlobOwners::of(&contents.images)?;
        let mut members = MemberList::new(&owners);
        members.add_separate(document_entry(&stem, &described, modified)?.into(), None);
        members.add_parts(parts, archives);
        let (members, blobs, size) = members.finish();
        let configs = configs::plan(&contents.images, &blobs)?;
        let (files, archives) = (contents.files.clone(), planned_archives);
        Ok(Self { stem, document, size, files, archives, blobs, members, configs })
    }

    /// Plans an image archive as a separate file. The configuration is not compared with the layers.
    pub(crate) fn archive(
        image: &ArchiveImage,
        platform: &Platform,
        modified: u64,
    ) -> Result<Self, Error> {
        let archive = archive::layout(image, platform, modified)?;
        // Identifies the archive; it is not written.
        let (name, version) = (image.reference.to_string(), image.root.digest().to_string());
        let contents = BundleContents::new(BundleKind::Plugin, name, version, platform.clone());
        let document = document_of(&contents.modified(modified), Vec::new(), None);
        let owners = BlobOwners::of(std::slice::from_ref(image))?;
        let mut members = MemberList::new(&owners);
        members.add_parts(archive.parts, Vec::new());
        let (members, blobs, size) = members.finish();
        Ok(Self {
            stem: image.reference.repository().name().to_owned(),
            document,
            size,
            files: Vec::new(),
            archives: Vec::new(),
            blobs,
            members,
            configs: Vec::new(),
        })
    }

    /// The file name.
    pub fn file_name(&self) -> String {
        format!("{}.tar.gz", self.stem)
    }

    /// The exact size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The size of all distinct blobs in bytes.
    pub fn blob_bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.descriptor.size).sum()
    }

    /// The content of `bundle.json`.
    pub fn document(&self) -> &BundleDocument {
        &self.document
    }

    /// The layers compressed with zstd, which Docker before version 23 cannot load.
    pub fn zstd_layers(&self) -> impl Iterator<Item = (&str, Digest)> {
        let zstd = self.blobs.iter().filter(|blob| blob.descriptor.media_type.ends_with("zstd"));
        zstd.map(|blob| (blob.reference.as_str(), blob.descriptor.digest))
    }

    /// The digest of `bundle.json`, which determines every byte of the bundle.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.document.to_bytes())
    }

    pub(crate) fn members(&self) -> &[PlannedMember] {
        &self.members
    }

    pub(crate) fn archives(&self) -> &[PlannedArchive] {
        &self.archives
    }

    pub(crate) fn files(&self) -> &[FileEntry] {
        &self.files
    }

    pub(crate) fn blobs(&self) -> &[PlannedBlob] {
        &self.blobs
    }

    pub(crate) fn configs(&self) -> &[PlannedConfig] {
        &self.configs
    }

    /// The bytes of the file that hold the document.
    pub(crate) fn document_range(&self) -> Range<u64> {
        let size = self.document.to_bytes().len() as u64;
        self.members[0].place.content_range(tar_entry::BLOCK..tar_entry::BLOCK + size)
    }
}

fn document_of(
    contents: &BundleContents,
    files: Vec<BundleFile>,
    store: Option<ImageStore>,
) -> BundleDocument {
    BundleDocument {
        format_version: FORMAT_VERSION,
        kind: contents.kind,
        name: contents.name.clone(),
        version: contents.version.clone(),
        base_version: contents.base_version.clone(),
        platforms: contents.platforms.clone(),
        commit: contents.commit.clone(),
        modified: contents.modified,
        files,
        store,
    }
}

/// The tar entry of `bundle.json`.
fn document_entry(stem: &str, document: &[u8], modified: u64) -> Result<Vec<u8>, Error> {
    let (path, size) = (format!("{stem}/{}", document::FILE_NAME), document.len() as u64);
    let mut bytes = tar_entry::file(&path, tar_entry::FILE_MODE, size, modified)?;
    if bytes.len() as u64 > tar_entry::BLOCK {
        // Readers expect a single header before `bundle.json`.
        return Err(Error::InvalidInput(format!("`{stem}` is too long for the name of a bundle")));
    }
    bytes.extend_from_slice(document);
    bytes.extend_from_slice(tar_entry::padding(size));
    Ok(bytes)
}

/// The description of a small file.
fn small_file(file: &FileEntry) -> BundleFile {
    BundleFile {
        path: file.path.clone(),
        size: file.size,
        mode: (file.mode != tar_entry::FILE_MODE).then(|| format!("{:04o}", file.mode)),
        digest: Some(file.digest),
        image: None,
    }
}

fn archive_files(contents: &BundleContents, archives: &[Archive]) -> Vec<BundleFile> {
    let references: Vec<_> = contents.images.iter().map(|image| image.reference.clone()).collect();
    let names = naming::archive_names(&contents.name, &contents.version, &references);
    let path = |name: String| match contents.has_store() {
        true => format!("{ARCHIVES}/{name}"),
        false => name,
    };
    let files = names.into_iter().zip(archives).map(|(name, archive)| BundleFile {
        path: path(name),
        size: archive.size(),
        mode: None,
        digest: None,
        image: Some(archive.image.clone()),
    });
    files.collect()
}

/// The first image that needs each blob.
pub(crate) struct BlobOwners<'i>(HashMap<Digest, &'i ArchiveImage>);

impl<'i> BlobOwners<'i> {
    fn of(images: &'i [ArchiveImage]) -> Result<Self, Error> {
        let mut owners = HashMap::new();
        for image in images {
            for blob in image.blobs()? {
                owners.entry(blob.digest).or_insert(image);
            }
        }
        Ok(Self(owners))
    }

    fn planned(&self, descriptor: Descriptor) -> PlannedBlob {
        // Every blob of a layout belongs to one of its images.
        let owner = self.0[&descriptor.digest];
        PlannedBlob {
            descriptor,
            repository: owner.repository.clone(),
            reference: owner.reference.to_string(),
            places: Vec::new(),
        }
    }
}
