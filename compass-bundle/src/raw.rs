//! Reads parts of the tar inside a bundle by offset.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::frame::{self, Unframer};

/// The tar inside a gzip of stored blocks.
#[derive(Debug)]
pub(crate) struct RawTar {
    file: File,
    path: PathBuf,
    length: u64,
}

/// An image archive in that tar: where its gzip begins, and how long its own tar is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nested {
    pub(crate) start: u64,
    pub(crate) length: u64,
}

impl RawTar {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let metadata = file.metadata().map_err(Error::io("open", path))?;
        if !metadata.is_file() {
            return Err(Error::not_a_bundle(path, "it is not a file"));
        }
        let mut header = [0; frame::HEADER.len()];
        let read = file.read_at(&mut header, 0).map_err(Error::io("read", path))?;
        if read < header.len() || header != frame::HEADER {
            return Err(Error::not_a_bundle(path, "it was not written by this tool"));
        }
        let length = frame::unframed_size(metadata.len()).ok_or_else(|| {
            Error::not_a_bundle(path, "its size is not that of a bundle: it may be cut off")
        })?;
        Ok(Self { file, path: path.to_owned(), length })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of the file itself.
    pub(crate) fn file(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let count = usize::try_from(range.end - range.start).unwrap_or_default();
        let mut bytes = vec![0; count];
        let read = self.file.read_exact_at(&mut bytes, range.start);
        read.map_err(Error::io("read", &self.path))?;
        Ok(bytes)
    }

    /// Bytes of the tar; the range lies within it, and is small.
    pub(crate) fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        if range.end > self.length || range.start > range.end {
            return Err(Error::not_a_bundle(&self.path, "it points beyond its own end"));
        }
        let framed = self.file(frame::offset(range.start)..frame::offset(range.end))?;
        let mut bytes = Vec::with_capacity(framed.len());
        Unframer::new(range.start, self.length).push(&framed, &mut bytes)?;
        Ok(bytes)
    }

    /// Bytes of the tar in an image archive.
    pub(crate) fn read_nested(&self, nested: Nested, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let outer =
            nested.start + frame::offset(range.start)..nested.start + frame::offset(range.end);
        let framed = self.read(outer)?;
        let mut bytes = Vec::with_capacity(framed.len());
        Unframer::new(range.start, nested.length).push(&framed, &mut bytes)?;
        Ok(bytes)
    }
}
