//! Detection of bundles, and of the first difference between a file and a bundle.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use crate::Error;
use crate::format::document::FILE_NAME;
use crate::format::gzip;
use crate::read::{Bundle, BundleSource, read_exact};

/// Size of the name field in a tar header.
const TAR_NAME_SIZE: u64 = 100;

/// Returns the range of bytes that contains the first difference from a bundle.
///
/// The range is the gzip header, everything that was read to parse the structure, or the whole
/// file.
///
/// # Errors
/// If the file cannot be read.
pub(super) async fn mismatch_range(source: &Arc<dyn BundleSource>) -> Result<Range<u64>, Error> {
    let has_header = has_bundle_header(&**source).await?;
    let recording =
        Arc::new(RecordingSource { source: Arc::clone(source), end: AtomicU64::new(0) });
    let opened = Bundle::read(recording.clone()).await;
    Ok(match (has_header, opened) {
        (true, _) => 0..recording.end.load(Ordering::Relaxed),
        (false, Ok(_)) => 0..gzip::HEADER.len() as u64,
        (false, Err(_)) => 0..source.size(),
    })
}

/// A source that replaces its first bytes with the gzip header of a bundle, and records how far it
/// was read.
#[derive(Debug)]
struct RecordingSource {
    source: Arc<dyn BundleSource>,
    end: AtomicU64,
}

#[async_trait]
impl BundleSource for RecordingSource {
    fn name(&self) -> String {
        self.source.name()
    }

    fn size(&self) -> u64 {
        self.source.size()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        self.end.fetch_max(range.end, Ordering::Relaxed);
        let mut bytes = BytesMut::from(self.source.read(range.clone()).await?);
        let header =
            gzip::HEADER.iter().enumerate().skip_while(|(at, _)| (*at as u64) < range.start);
        for ((_, expected), byte) in header.zip(bytes.iter_mut()) {
            *byte = *expected;
        }
        Ok(bytes.freeze())
    }
}

/// Whether a file has the gzip header of a bundle and `bundle.json` as its first entry.
pub(super) async fn starts_with_document(source: &dyn BundleSource) -> Result<bool, Error> {
    let start = gzip::HEADER.len() as u64 + gzip::BLOCK_HEADER;
    let end = start + TAR_NAME_SIZE;
    if source.size() < end || !has_bundle_header(source).await? {
        return Ok(false);
    }
    let name = read_exact(source, start..end).await?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    // A long directory name is in another field of the header. The name of a bundle is never so long
    // that it needs an extended header.
    Ok(name.rsplit(|byte| *byte == b'/').next() == Some(FILE_NAME.as_bytes()))
}

/// Whether a file ends before its first tar header does.
pub(super) async fn is_truncated(source: &dyn BundleSource) -> Result<bool, Error> {
    let end = gzip::HEADER.len() as u64 + gzip::BLOCK_HEADER + TAR_NAME_SIZE;
    Ok(source.size() < end && has_bundle_header(source).await?)
}

async fn has_bundle_header(source: &dyn BundleSource) -> Result<bool, Error> {
    let length = source.size().min(gzip::HEADER.len() as u64);
    Ok(read_exact(source, 0..length).await?[..] == gzip::HEADER)
}
