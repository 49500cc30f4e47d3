//! Lays out a tar archive: bytes, blobs, small files and nested archives in order.

use bytes::Bytes;
use compass_registry::{Descriptor, RawManifest};

use super::contents::FileEntry;
use crate::Error;
use crate::format::document::PlacedBlob;
use crate::format::tar_entry;

/// The maximum size of an archive in bytes. The sizes are untrusted, and larger sums could overflow.
const MAX_LENGTH: u64 = 1 << 50;

/// A tar archive that is being laid out.
pub(crate) struct TarLayout {
    /// The prefix of every path.
    prefix: String,
    modified: u64,
    parts: Vec<Part>,
    literal: Vec<u8>,
    position: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Part {
    Bytes(Bytes),
    /// An image manifest.
    Manifest(Bytes),
    Blob(Descriptor),
    /// A small file, by index, and its size in bytes.
    File(usize, u64),
    /// An image archive, by index, and its size in bytes.
    Archive(usize, u64),
}

impl Part {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) | Self::Manifest(bytes) => bytes.len() as u64,
            Self::Blob(descriptor) => descriptor.size,
            Self::File(_, size) | Self::Archive(_, size) => *size,
        }
    }
}

impl TarLayout {
    pub(crate) fn new(prefix: impl Into<String>, modified: u64) -> Self {
        let prefix = prefix.into();
        Self { prefix, modified, parts: Vec::new(), literal: Vec::new(), position: 0 }
    }

    pub(crate) fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<(), Error> {
        let size = bytes.len() as u64;
        self.header(path, mode, size)?;
        self.literal(bytes);
        self.literal(tar_entry::padding(size));
        Ok(())
    }

    pub(crate) fn directory(&mut self, path: &str) -> Result<(), Error> {
        let header = tar_entry::directory(&format!("{}{path}", self.prefix), self.modified)?;
        self.literal(&header);
        Ok(())
    }

    /// Adds an image manifest and returns its place.
    pub(crate) fn manifest(&mut self, manifest: &RawManifest) -> Result<PlacedBlob, Error> {
        self.place(manifest.descriptor(), Part::Manifest(manifest.bytes().clone()))
    }

    /// Adds a blob and returns its place.
    pub(crate) fn blob(&mut self, descriptor: &Descriptor) -> Result<PlacedBlob, Error> {
        self.place(descriptor, Part::Blob(descriptor.clone()))
    }

    fn place(&mut self, descriptor: &Descriptor, part: Part) -> Result<PlacedBlob, Error> {
        self.header(&blob_path(descriptor), tar_entry::FILE_MODE, descriptor.size)?;
        let offset = self.position;
        self.part(part);
        self.literal(tar_entry::padding(descriptor.size));
        Ok(PlacedBlob { descriptor: descriptor.clone(), offset })
    }

    /// Adds a small file and its index.
    pub(crate) fn small_file(&mut self, index: usize, file: &FileEntry) -> Result<(), Error> {
        self.header(&file.path, file.mode, file.size)?;
        self.part(Part::File(index, file.size));
        self.literal(tar_entry::padding(file.size));
        Ok(())
    }

    /// Adds an image archive, by index.
    pub(crate) fn archive(&mut self, path: &str, index: usize, size: u64) -> Result<(), Error> {
        self.header(path, tar_entry::FILE_MODE, size)?;
        self.part(Part::Archive(index, size));
        self.literal(tar_entry::padding(size));
        Ok(())
    }

    /// Adds entries that were laid out separately.
    pub(crate) fn extend(&mut self, parts: Vec<Part>) {
        for part in parts {
            self.part(part);
        }
    }

    /// Ends the archive and returns its parts.
    ///
    /// # Errors
    /// As [`Self::into_parts`].
    pub(crate) fn end(mut self) -> Result<Vec<Part>, Error> {
        self.literal(&[0; tar_entry::END]);
        self.into_parts()
    }

    /// Returns the parts so far.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the size exceeds one pebibyte.
    pub(crate) fn into_parts(mut self) -> Result<Vec<Part>, Error> {
        self.end_literal();
        if self.position > MAX_LENGTH {
            let message =
                "the bundle would be larger than a pebibyte: a size in a manifest is wrong";
            return Err(Error::InvalidInput(message.to_owned()));
        }
        Ok(self.parts)
    }

    fn header(&mut self, path: &str, mode: u32, size: u64) -> Result<(), Error> {
        let path = format!("{}{path}", self.prefix);
        let header = tar_entry::file(&path, mode, size, self.modified)?;
        self.literal(&header);
        Ok(())
    }

    fn literal(&mut self, bytes: &[u8]) {
        self.literal.extend_from_slice(bytes);
        self.position = self.position.saturating_add(bytes.len() as u64);
    }

    fn part(&mut self, part: Part) {
        self.end_literal();
        self.position = self.position.saturating_add(part.size());
        self.parts.push(part);
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            self.parts.push(Part::Bytes(std::mem::take(&mut self.literal).into()));
        }
    }
}

/// The path of a blob in an OCI image layout.
pub(crate) fn blob_path(blob: &Descriptor) -> String {
    format!("blobs/{}/{}", blob.digest.algorithm().name(), blob.digest.hex())
}
