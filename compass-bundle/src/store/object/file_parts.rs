//! Reads the parts of a local file in order.

use compass_registry::{Digest, Hasher, Progress};
use tokio::task::spawn_blocking;

use super::checksum::{ObjectChecksum, PartHasher};
use super::client::{Body, Content};
use super::part::Part;
use super::part_layout::PartLayout;
use crate::Error;
use crate::read::LocalFile;

/// Bytes per read.
const READ_SIZE: u64 = 1 << 20;

/// Reads the parts of a local file in order. Their bytes are read again when they are sent.
pub(super) struct FileParts {
    layout: PartLayout,
    file: LocalFile,
    /// The number of the next part.
    next: u64,
    hasher: Hasher,
    object: ObjectChecksum,
}

/// The digest and checksums of a whole object.
pub(super) struct Summary {
    pub(super) digest: Digest,
    pub(super) object: ObjectChecksum,
}

impl FileParts {
    pub(super) fn new(file: LocalFile, layout: PartLayout) -> Self {
        let (hasher, object) = (Hasher::default(), ObjectChecksum::default());
        Self { layout, file, next: 1, hasher, object }
    }

    /// Reads the next part. Returns `None` after the last one.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read.
    pub(super) async fn next(&mut self) -> Result<Option<Part>, Error> {
        if self.next > self.layout.count() {
            return Ok(None);
        }
        let (number, range) = (self.next, self.layout.range(self.next));
        let (file, mut hasher) = (self.file.clone(), std::mem::take(&mut self.hasher));
        let body = Body::File(file.clone(), range.clone());
        let read = spawn_blocking(move || {
            let (mut part, mut buffer, mut position) =
                (PartHasher::default(), Vec::new(), range.start);
            while position < range.end {
                let next = range.end.min(position + READ_SIZE);
                file.read_into(&mut buffer, position..next)?;
                part.update(&buffer);
                hasher.update(&buffer);
                position = next;
            }
            Ok::<_, Error>((part.finish(), hasher))
        });
        let read = read.await;
        let (checksum, hasher) =
            read.map_err(|_| Error::damaged("the thread that reads the file panicked"))??;
        self.hasher = hasher;
        self.next += 1;
        self.object.add(&checksum);
        let content = Content { body, checksum };
        Ok(Some(Part { number, content, memory: None, is_last_of_blob: false }))
    }

    /// Reads the rest, and returns the digest and checksums of the whole.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub(super) async fn finish(mut self, progress: &dyn Progress) -> Result<Summary, Error> {
        while let Some(part) = self.next().await? {
            progress.advance(part.content.checksum.size);
        }
        Ok(Summary { digest: self.hasher.finish(), object: self.object })
    }
}

#[cfg(test)]
mod tests {
    use compass_registry::NoProgress;

    use super::*;

    #[tokio::test]
    async fn file_is_read_in_parts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"123456789").unwrap();
        let layout = PartLayout::with_ends(&[4, 8, 9]);
        let mut parts = FileParts::new(LocalFile::open(&path).unwrap(), layout);
        let mut sizes = Vec::new();
        while let Some(part) = parts.next().await.unwrap() {
            assert_eq!(part.content.body.size(), part.content.checksum.size);
            sizes.push(part.content.checksum.size);
        }
        assert_eq!(sizes, [4, 4, 1]);
        let summary = parts.finish(&NoProgress).await.unwrap();
        assert_eq!((summary.digest, summary.object.size()), (Digest::of(b"123456789"), 9));
    }
}
