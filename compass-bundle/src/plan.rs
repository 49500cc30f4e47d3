//! A bundle as pure data: every byte known, or known by size and digest, at its place.

use std::ops::Range;

use bytes::Bytes;
use compass_registry::{Descriptor, Digest, Platform, Repository};

use crate::archive::{self, Part};
use crate::document::{self, BundleDocument, BundleFile, FORMAT_VERSION, Kind};
use crate::frame;
use crate::image::ArchiveImage;
use crate::{Error, entry, naming};

/// What goes into a plugin bundle.
#[derive(Debug, Clone)]
pub struct PluginContents {
    /// The plugin.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The commit that last changed the release manifest, where it is known.
    pub commit: Option<String>,
    /// Seconds since 1970: the time of that commit, `SOURCE_DATE_EPOCH`, or 0.
    pub modified: u64,
    /// The plugin manifest.
    pub manifest: Bytes,
    /// The images, in the order of the manifest.
    pub images: Vec<ArchiveImage>,
    /// The platform that tools see which know only single images.
    pub platform: Platform,
}

/// A bundle before it is written: size, offsets and contents, all known.
#[derive(Debug, Clone)]
pub struct BundlePlan {
    stem: String,
    document: BundleDocument,
    length: u64,
    archives: Vec<PlannedArchive>,
    segments: Vec<Segment>,
}

/// An image archive's place in the tar of a bundle.
#[derive(Debug, Clone)]
pub(crate) struct PlannedArchive {
    /// Offset of its gzip header in the bundle's tar.
    pub(crate) start: u64,
    /// Length of its own tar.
    pub(crate) length: u64,
    pub(crate) repository: Repository,
    pub(crate) reference: String,
    pub(crate) path: String,
}

/// One part of a bundle, in order.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// The archive whose tar it stands in, or nothing for the bundle's own.
    pub(crate) archive: Option<usize>,
    /// Offset in that tar.
    pub(crate) position: u64,
    pub(crate) content: Content,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Bytes(Bytes),
    Blob(Descriptor),
    /// The gzip trailer of an image archive.
    Trailer(usize),
}

impl Content {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blob(descriptor) => descriptor.size,
            Self::Trailer(_) => frame::TRAILER,
        }
    }
}

impl BundlePlan {
    /// Plans a plugin bundle.
    ///
    /// # Errors
    /// [`Error::Unplannable`] where name or version is no plain file name or too long for tar, or
    /// an image index is nested.
    pub fn plugin(contents: &PluginContents) -> Result<Self, Error> {
        naming::require_plain("plugin name", &contents.name)?;
        naming::require_plain("version", &contents.version)?;
        let modified = contents.modified;
        let references: Vec<_> = contents.images.iter().map(|i| i.reference.clone()).collect();
        let names = naming::archive_names(&contents.name, &contents.version, &references);
        let lay_out = |image| archive::lay_out(image, &contents.platform, modified);
        let archives = contents.images.iter().map(lay_out).collect::<Result<Vec<_>, _>>()?;

        let mut files = vec![BundleFile {
            path: format!("{}.yaml", contents.name),
            size: contents.manifest.len() as u64,
            digest: Some(Digest::of(&contents.manifest)),
            image: None,
        }];
        files.extend(names.into_iter().zip(&archives).map(|(path, archive)| BundleFile {
            path,
            size: frame::framed_size(archive.length),
            digest: None,
            image: Some(archive.image.clone()),
        }));
        let document = BundleDocument {
            format_version: FORMAT_VERSION,
            kind: Kind::Plugin,
            name: contents.name.clone(),
            version: contents.version.clone(),
            commit: contents.commit.clone(),
            modified,
            files,
        };
        let stem = naming::plugin_stem(&contents.name, &contents.version);
        let mut layout = Layout { stem: &stem, modified, position: 0, segments: Vec::new() };
        layout.file(document::FILE_NAME, document.to_bytes().into())?;
        layout.file(&document.files[0].path, contents.manifest.clone())?;
        let mut planned = Vec::new();
        for ((file, archive), image) in
            document.files[1..].iter().zip(archives).zip(&contents.images)
        {
            let start = layout.archive(planned.len(), file, archive.parts, archive.length)?;
            planned.push(PlannedArchive {
                start,
                length: archive.length,
                repository: image.repository.clone(),
                reference: image.reference.to_string(),
                path: file.path.clone(),
            });
        }
        layout.bytes(vec![0; entry::END]);
        let (length, segments) = (layout.position, layout.segments);
        Ok(Self { stem, document, length, archives: planned, segments })
    }

    /// The file name.
    pub fn file_name(&self) -> String {
        format!("{}.tar.gz", self.stem)
    }

    /// The size of the file in bytes, exactly.
    pub fn size(&self) -> u64 {
        frame::framed_size(self.length)
    }

    /// The bytes of the blobs that have to be read.
    pub fn blob_bytes(&self) -> u64 {
        let blobs = self.segments.iter().filter(|one| matches!(one.content, Content::Blob(_)));
        blobs.map(|segment| segment.content.size()).sum()
    }

    /// What `bundle.json` will say.
    pub fn document(&self) -> &BundleDocument {
        &self.document
    }

    /// Layers that Docker before version 23 cannot load: those compressed with zstd.
    pub fn zstd_layers(&self) -> impl Iterator<Item = (&str, Digest)> {
        self.segments.iter().filter_map(|segment| match (&segment.content, segment.archive) {
            (Content::Blob(blob), Some(archive)) if blob.media_type.ends_with("+zstd") => {
                Some((self.archives[archive].reference.as_str(), blob.digest))
            }
            _ => None,
        })
    }

    /// The length of the tar inside the file.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(crate) fn archive(&self, index: usize) -> &PlannedArchive {
        &self.archives[index]
    }

    /// Where a segment stands in the file. The header of the file and its trailer stand in none.
    pub(crate) fn file_range(&self, segment: &Segment) -> Range<u64> {
        let range = segment.position..segment.position + segment.content.size();
        match segment.archive {
            None => frame::offset(range.start)..frame::offset(range.end),
            Some(archive) => {
                let start = self.archives[archive].start;
                let inner = frame::offset(range.start)..frame::offset(range.end);
                frame::offset(start + inner.start)..frame::offset(start + inner.end)
            }
        }
    }
}

struct Layout<'s> {
    stem: &'s str,
    modified: u64,
    position: u64,
    segments: Vec<Segment>,
}

impl Layout<'_> {
    fn bytes(&mut self, bytes: Vec<u8>) {
        self.push(Content::Bytes(bytes.into()));
    }

    fn push(&mut self, content: Content) {
        let size = content.size();
        if size > 0 {
            self.segments.push(Segment { archive: None, position: self.position, content });
            self.position += size;
        }
    }

    fn file(&mut self, path: &str, bytes: Bytes) -> Result<(), Error> {
        let size = bytes.len() as u64;
        self.bytes(entry::file(&format!("{}/{path}", self.stem), size, self.modified)?);
        self.push(Content::Bytes(bytes));
        self.bytes(entry::padding(size).to_vec());
        Ok(())
    }

    /// Adds an image archive, and says where it begins.
    fn archive(
        &mut self,
        index: usize,
        file: &BundleFile,
        parts: Vec<Part>,
        length: u64,
    ) -> Result<u64, Error> {
        let path = format!("{}/{}", self.stem, file.path);
        self.bytes(entry::file(&path, file.size, self.modified)?);
        let start = self.position;
        self.bytes(frame::HEADER.to_vec());
        let mut position = 0;
        for part in parts {
            let size = part.size();
            let content = match part {
                Part::Bytes(bytes) => Content::Bytes(bytes),
                Part::Blob(descriptor) => Content::Blob(descriptor),
            };
            self.segments.push(Segment { archive: Some(index), position, content });
            position += size;
        }
        self.position = start + frame::offset(length);
        self.push(Content::Trailer(index));
        self.bytes(entry::padding(file.size).to_vec());
        Ok(start)
    }
}
