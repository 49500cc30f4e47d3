//! A bundle as pure data: every byte known, or known by size and digest, at its place.

pub(crate) mod archive;
pub(crate) mod configs;
pub(crate) mod contents;
pub(crate) mod entry;
mod gather;
pub(crate) mod image;
pub(crate) mod platforms;
pub(crate) mod store;
pub(crate) mod tar;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use bytes::Bytes;
use compass_registry::{Descriptor, Digest, Platform, Repository};

use self::archive::Archive;
use self::configs::PlannedConfig;
use self::contents::{ARCHIVES, BundleContents, ContentFile};
use self::image::{ArchiveImage, share_available_layers};
use self::tar::{Part, TarLayout};
use crate::document::{self, BundleDocument, BundleFile, BundleKind, FORMAT_VERSION};
use crate::{Error, frame, naming};

/// A bundle before it is written: size, offsets and contents, all known.
#[derive(Debug, Clone)]
pub struct BundlePlan {
    stem: String,
    document: BundleDocument,
    length: u64,
    files: Vec<ContentFile>,
    archives: Vec<PlannedArchive>,
    blobs: Vec<PlannedBlob>,
    segments: Vec<Segment>,
    /// The configurations that have to fit their images.
    configs: Vec<PlannedConfig>,
}

/// An image archive's place in the tar of a bundle.
#[derive(Debug, Clone)]
pub(crate) struct PlannedArchive {
    /// Offset of its gzip header in the bundle's tar.
    pub(crate) start: u64,
    /// Length of its own tar.
    pub(crate) length: u64,
    pub(crate) path: String,
    pub(crate) reference: String,
    /// The segments of its tar. That of its gzip trailer follows.
    pub(crate) segments: Range<usize>,
}

/// A blob that stands in a bundle, once or several times.
#[derive(Debug, Clone)]
pub(crate) struct PlannedBlob {
    pub(crate) descriptor: Descriptor,
    /// Where it is read from.
    pub(crate) repository: Repository,
    /// The first image that needs it.
    pub(crate) reference: String,
    /// The segments that it fills.
    pub(crate) places: Vec<usize>,
}

/// One part of a bundle, in order.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// The archive whose tar it stands in, or nothing for the bundle's own.
    pub(crate) archive: Option<usize>,
    /// Offset in that tar.
    pub(crate) position: u64,
    pub(crate) size: u64,
    pub(crate) content: Content,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Bytes(Bytes),
    /// A small file, by its number.
    File(usize),
    /// A blob, by its number.
    Blob(usize),
    /// The gzip trailer of an image archive.
    Trailer(usize),
}

impl BundlePlan {
    /// Plans a bundle.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] where a name leads elsewhere, is there twice or is too long for tar,
    /// or `bundle.json` or the image manifests are too large to be read again.
    pub fn new(contents: &BundleContents) -> Result<Self, Error> {
        contents.require_usable()?;
        contents.require_few_manifests()?;
        let (stem, modified) = (contents.stem(), contents.modified);
        let (shared, platform) = (share_available_layers(&contents.images)?, &contents.platform);
        let images = &shared[..];
        let lay_out = |image| archive::lay_out(image, platform, modified);
        let archived = if contents.has_archives() { images } else { &[] };
        let archives = archived.iter().map(lay_out).collect::<Result<Vec<_>, _>>()?;
        let store = contents.has_store().then(|| store::lay_out(&stem, images, platform, modified));
        let store = store.transpose()?;

        let mut files: Vec<_> = contents.files.iter().map(BundleFile::small).collect();
        let archived = archive_files(contents, &archives);
        let mut paths = HashSet::new();
        if let Some(twice) = archived.iter().find(|file| !paths.insert(file.path.as_str())) {
            let image = twice.image.as_ref().map_or("", |image| image.reference.as_str());
            return Err(Error::InvalidInput(format!("{image} is there twice")));
        }
        files.extend(archived);
        let document = BundleDocument {
            format_version: FORMAT_VERSION,
            kind: contents.kind,
            name: contents.name.clone(),
            version: contents.version.clone(),
            base: contents.base.clone(),
            platforms: contents.platforms.clone(),
            commit: contents.commit.clone(),
            modified,
            files,
            store: store.as_ref().map(|store| store.described.clone()),
        };
        document.check_limits()?;
        let described = document.to_bytes();
        contents::require_readable(described.len())?;
        let mut tar = TarLayout::new(format!("{stem}/"), modified);
        tar.file(document::FILE_NAME, entry::FILE_MODE, &described)?;
        for (index, file) in contents.files.iter().enumerate() {
            tar.small_file((&file.path, file.mode), index, file.size)?;
        }
        if let Some(store) = store {
            tar.extend(store.parts, store.length);
        }
        for (index, file) in document.archives().enumerate() {
            tar.archive(&file.path, index, file.size)?;
        }
        let (parts, length) = tar.end()?;
        let mut plan = Self {
            stem,
            document,
            length,
            files: contents.files.clone(),
            archives: Vec::new(),
            blobs: Vec::new(),
            segments: Vec::new(),
            configs: Vec::new(),
        };
        plan.add_parts(parts, archives, &Owners::of(&contents.images)?);
        plan.configs = configs::plan(&contents.images, &plan.blobs)?;
        Ok(plan)
    }

    /// Plans an image archive as a file of its own: what there is, whether or not its configuration
    /// fits.
    pub(crate) fn archive(
        image: &ArchiveImage,
        platform: &Platform,
        modified: u64,
    ) -> Result<Self, Error> {
        let archive = archive::lay_out(image, platform, modified)?;
        let document = BundleDocument {
            format_version: FORMAT_VERSION,
            kind: BundleKind::Plugin,
            name: image.reference.to_string(),
            version: image.root.digest().to_string(),
            base: None,
            platforms: Vec::new(),
            commit: None,
            modified,
            files: Vec::new(),
            store: None,
        };
        let mut plan = Self {
            stem: image.reference.repository().name().to_owned(),
            document,
            length: archive.length,
            files: Vec::new(),
            archives: Vec::new(),
            blobs: Vec::new(),
            segments: Vec::new(),
            configs: Vec::new(),
        };
        plan.add_parts(archive.parts, Vec::new(), &Owners::of(std::slice::from_ref(image))?);
        Ok(plan)
    }

    fn add_parts(&mut self, parts: Vec<Part>, archives: Vec<Archive>, owners: &Owners<'_>) {
        let paths: Vec<_> = self.document.archives().map(|file| file.path.clone()).collect();
        let mut archives: Vec<_> = archives.into_iter().zip(paths).map(Some).collect();
        let mut known = HashMap::new();
        let mut position = 0;
        for part in parts {
            let size = part.size();
            match part {
                Part::Archive(index, _) => {
                    let inner = archives.get_mut(index).and_then(Option::take);
                    if let Some(inner) = inner {
                        self.add_archive(index, position, inner, owners, &mut known);
                    }
                }
                part => self.add(None, position, part, owners, &mut known),
            }
            position += size;
        }
    }

    fn add_archive(
        &mut self,
        index: usize,
        start: u64,
        (archive, path): (Archive, String),
        owners: &Owners<'_>,
        known: &mut HashMap<Digest, usize>,
    ) {
        let length = archive.length;
        self.add(None, start, Part::Bytes(Bytes::from_static(&frame::HEADER)), owners, known);
        let first = self.segments.len();
        let mut position = 0;
        for part in archive.parts {
            let size = part.size();
            self.add(Some(index), position, part, owners, known);
            position += size;
        }
        let (reference, segments) = (archive.image.reference, first..self.segments.len());
        self.archives.push(PlannedArchive { start, length, path, reference, segments });
        let position = start + frame::offset(length);
        let (size, content) = (frame::TRAILER, Content::Trailer(index));
        self.segments.push(Segment { archive: None, position, size, content });
    }

    fn add(
        &mut self,
        archive: Option<usize>,
        position: u64,
        part: Part,
        owners: &Owners<'_>,
        known: &mut HashMap<Digest, usize>,
    ) {
        let size = part.size();
        let content = match part {
            Part::Bytes(bytes) => Content::Bytes(bytes),
            Part::Blob(descriptor) => {
                let number = *known.entry(descriptor.digest).or_insert(self.blobs.len());
                if number == self.blobs.len() {
                    self.blobs.push(owners.planned(descriptor));
                }
                self.blobs[number].places.push(self.segments.len());
                Content::Blob(number)
            }
            Part::File(number, _) => Content::File(number),
            Part::Archive(..) => return,
        };
        self.segments.push(Segment { archive, position, size, content });
    }

    /// The file name.
    pub fn file_name(&self) -> String {
        format!("{}.tar.gz", self.stem)
    }

    /// The size of the file in bytes, exactly.
    pub fn size(&self) -> u64 {
        frame::framed_size(self.length)
    }

    /// The bytes of the blobs that have to be read, each once.
    pub fn blob_bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.descriptor.size).sum()
    }

    /// What `bundle.json` will say.
    pub fn document(&self) -> &BundleDocument {
        &self.document
    }

    /// Layers that Docker before version 23 cannot load: those compressed with zstd.
    pub fn zstd_layers(&self) -> impl Iterator<Item = (&str, Digest)> {
        let zstd = self.blobs.iter().filter(|blob| blob.descriptor.media_type.ends_with("zstd"));
        zstd.map(|blob| (blob.reference.as_str(), blob.descriptor.digest))
    }

    /// The length of the tar inside the file.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(crate) fn archives(&self) -> &[PlannedArchive] {
        &self.archives
    }

    pub(crate) fn files(&self) -> &[ContentFile] {
        &self.files
    }

    pub(crate) fn blobs(&self) -> &[PlannedBlob] {
        &self.blobs
    }

    pub(crate) fn configs(&self) -> &[PlannedConfig] {
        &self.configs
    }

    /// Where a segment stands in the file. The header of the file and its trailer stand in none.
    pub(crate) fn file_range(&self, segment: &Segment) -> Range<u64> {
        let outer = self.outer_range(segment);
        frame::offset(outer.start)..frame::offset(outer.end)
    }

    /// Where the document stands in the file, without its header.
    pub(crate) fn document_range(&self) -> Range<u64> {
        let (start, size) = (entry::BLOCK, self.document.to_bytes().len() as u64);
        frame::offset(start)..frame::offset(start + size)
    }

    /// Where a segment stands in the tar of the bundle.
    pub(crate) fn outer_range(&self, segment: &Segment) -> Range<u64> {
        let range = segment.position..segment.position + segment.size;
        match segment.archive {
            None => range,
            Some(archive) => {
                let start = self.archives[archive].start;
                start + frame::offset(range.start)..start + frame::offset(range.end)
            }
        }
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
        size: frame::framed_size(archive.length),
        mode: None,
        digest: None,
        image: Some(archive.image.clone()),
    });
    files.collect()
}

/// The first image that needs each blob.
struct Owners<'i>(HashMap<Digest, &'i ArchiveImage>);

impl<'i> Owners<'i> {
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
        // Every blob of a layout comes from one of the images that it was made of.
        let owner = self.0[&descriptor.digest];
        PlannedBlob {
            descriptor,
            repository: owner.repository.clone(),
            reference: owner.reference.to_string(),
            places: Vec::new(),
        }
    }
}
