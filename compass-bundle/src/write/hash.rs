//! Hashes the file in order, and verifies each blob on the way.
//!
//! Blobs are written in any order and not verified before. This stage follows them: it reads the
//! bytes back while they are in the page cache, and hashes them for the file and for the blob at the
//! same time. It also writes everything that is not content of a blob.

use std::collections::HashMap;
use std::sync::Arc;

use compass_registry::{Algorithm, Digest, Error as RegistryError, Hasher, Progress};
use tokio::sync::mpsc::UnboundedSender;

use super::frame::RunChunks;
use super::output::Output;
use super::writer_gone;
use crate::Error;
use crate::format::member::{Member, MemberDecoder};
use crate::plan::members::{Content, PlannedMember};
use crate::plan::{BundlePlan, PlannedBlob};

/// Bytes that are read back at once.
const READ: u64 = 256 << 10;

/// The stage that hashes the file.
pub(super) struct HashStage {
    plan: Arc<BundlePlan>,
    output: Arc<Output>,
    progress: Arc<dyn Progress>,
    /// Receives the blobs whose bytes of an earlier run are wrong.
    refetch: UnboundedSender<usize>,
    /// The blobs that contain bytes of an earlier run. Such bytes may differ between the places.
    resumed: Vec<bool>,
    hasher: Hasher,
    /// The trailers of verified blobs, by blob and nesting.
    trailers: HashMap<(usize, bool), Vec<u8>>,
    buffer: Vec<u8>,
}

/// The content of a member after it was read.
struct ReadContent {
    /// The digest; `None` if the framing is damaged.
    digest: Option<Digest>,
    /// The bytes after the content.
    trailer: Vec<u8>,
}

impl HashStage {
    pub(super) fn new(
        plan: Arc<BundlePlan>,
        output: Arc<Output>,
        progress: Arc<dyn Progress>,
        refetch: UnboundedSender<usize>,
    ) -> Self {
        Self {
            resumed: output.prefixes().into_iter().map(|prefix| prefix > 0).collect(),
            plan,
            output,
            progress,
            refetch,
            hasher: Hasher::default(),
            trailers: HashMap::new(),
            buffer: Vec::new(),
        }
    }

    /// Hashes all members and returns the digest of the file. Blocks.
    ///
    /// # Errors
    /// The first error of the disk or of a blob, with the names of the image and the blob.
    pub(super) fn run(mut self) -> Result<Digest, Error> {
        let plan = Arc::clone(&self.plan);
        for member in plan.members() {
            match member.content {
                Content::Run(_) => self.write_run(member)?,
                Content::Blob { blob, .. } => self.hash_blob(member.place, blob)?,
            }
        }
        Ok(self.hasher.finish())
    }

    fn write_run(&mut self, member: &PlannedMember) -> Result<(), Error> {
        let mut offset = member.place.offset;
        for chunk in RunChunks::new(&self.plan, member).into_iter().flatten() {
            self.write(offset, &chunk)?;
            offset += chunk.len() as u64;
            self.progress.advance(chunk.len() as u64);
        }
        Ok(())
    }

    /// Hashes a member that contains a blob, and verifies the blob.
    fn hash_blob(&mut self, member: Member, blob: usize) -> Result<(), Error> {
        let mut header = Vec::new();
        member.encoder().begin(|slice| header.extend_from_slice(slice));
        self.write(member.offset, &header)?;
        let end = member.content_range(0..member.size).end;
        let known = self.trailers.get(&(blob, member.nested)).cloned();
        if let Some(trailer) = known.filter(|_| !self.resumed[blob]) {
            self.read_content(member, blob, Hasher::update)?;
            return self.write(end, &trailer);
        }
        let before = self.hasher.clone();
        let expected = self.plan.blobs()[blob].descriptor.digest;
        let mut content = self.decode_content(member, blob, &header)?;
        if content.digest != Some(expected) && self.resumed[blob] {
            self.hasher = before;
            self.resumed[blob] = false;
            self.output.discard(blob)?;
            self.refetch.send(blob).map_err(|_| self.stopped())?;
            content = self.decode_content(member, blob, &header)?;
        }
        match content.digest {
            Some(digest) if digest == expected => {}
            actual => return Err(self.wrong_blob(blob, actual)),
        }
        self.write(end, &content.trailer)?;
        self.trailers.insert((blob, member.nested), content.trailer);
        Ok(())
    }

    /// Hashes the content of a member for the file and for the blob.
    fn decode_content(
        &mut self,
        member: Member,
        blob: usize,
        header: &[u8],
    ) -> Result<ReadContent, Error> {
        let algorithm = self.plan.blobs()[blob].descriptor.digest.algorithm();
        let mut hasher = BlobHasher::new(member, algorithm);
        hasher.decode(header);
        // Read damaged content to its end as well: then all tasks that write the blob have ended.
        self.read_content(member, blob, |file, bytes| hasher.update_with_file(bytes, file))?;
        let digest = (!hasher.is_damaged).then(|| hasher.hasher.finish());
        let mut trailer = Vec::new();
        hasher.decoder.into_encoder(member).finish(|slice| trailer.extend_from_slice(slice));
        Ok(ReadContent { digest, trailer })
    }

    /// Passes on the framed content of a member while the blob is being written.
    fn read_content(
        &mut self,
        member: Member,
        blob: usize,
        mut sink: impl FnMut(&mut Hasher, &[u8]),
    ) -> Result<(), Error> {
        let (mut known, mut offset) = (0, member.content_range(0..0).start);
        while known < member.size {
            known = self.output.wait_for_more(blob, known).ok_or_else(|| self.stopped())?;
            let end = member.content_range(0..known).end;
            while offset < end {
                let count = (end - offset).min(READ);
                self.buffer.resize(usize::try_from(count).unwrap_or_default(), 0);
                self.output.read(offset, &mut self.buffer)?;
                sink(&mut self.hasher, &self.buffer);
                offset += count;
            }
        }
        Ok(())
    }

    /// Writes and hashes the next bytes of the file.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.output.write(offset, bytes)
    }

    /// Creates the error for a blob with wrong bytes, from which a later run must not resume.
    fn wrong_blob(&self, blob: usize, actual: Option<Digest>) -> Error {
        if let Err(error) = self.output.discard(blob) {
            return error;
        }
        let PlannedBlob { descriptor, repository, reference, .. } = &self.plan.blobs()[blob];
        let Some(actual) = actual else {
            return Error::damaged("written bytes have changed: another process writes the file");
        };
        let what = format!("{repository}@{}", descriptor.digest);
        let (expected, actual) = (Box::new(descriptor.digest), Box::new(actual));
        let error = RegistryError::DigestMismatch { what, expected, actual };
        error.in_blob(reference, descriptor.digest).into()
    }

    fn stopped(&self) -> Error {
        writer_gone(std::path::Path::new(&self.plan.file_name()))
    }
}

/// Hashes the content of a member whose framed bytes are passed in order.
struct BlobHasher {
    decoder: MemberDecoder,
    hasher: Hasher,
    /// Whether hashing the blob and the file in turns is faster than in two threads.
    is_pair_faster: bool,
    is_damaged: bool,
}

impl BlobHasher {
    fn new(member: Member, algorithm: Algorithm) -> Self {
        let (decoder, hasher) = (member.decoder(), Hasher::new(algorithm));
        Self {
            decoder,
            hasher,
            is_pair_faster: Hasher::is_pair_faster(algorithm),
            is_damaged: false,
        }
    }

    /// Hashes the next bytes of the member.
    fn decode(&mut self, bytes: &[u8]) {
        let Self { decoder, hasher, is_damaged, .. } = self;
        if !*is_damaged {
            *is_damaged = decoder.for_each_slice(bytes, |slice| hasher.update(slice)).is_err();
        }
    }

    /// Hashes the next bytes of the member as bytes of the blob and as bytes of the file.
    fn update_with_file(&mut self, bytes: &[u8], file: &mut Hasher) {
        if !self.is_pair_faster {
            return std::thread::scope(|scope| {
                scope.spawn(|| file.update(bytes));
                self.decode(bytes);
            });
        }
        let Self { decoder, hasher, is_damaged, .. } = self;
        let mut rest = bytes;
        if !*is_damaged {
            let decoded = decoder.for_each_slice(bytes, |slice| {
                // The hasher of the file falls behind by the bytes of the framing, because `slice`
                // excludes them. They stay in `rest` and are hashed after the loop.
                let (now, later) = rest.split_at(slice.len());
                Hasher::update_pair(hasher, slice, file, now);
                rest = later;
            });
            *is_damaged = decoded.is_err();
        }
        file.update(rest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::gzip;

    proptest! {
        #[test]
        fn blob_hasher_any_cuts_yields_both_digests(
            length in 0_usize..300_000, offset in 0_u64..100_000, nested: bool,
            is_pair_faster: bool,
            cuts in proptest::collection::vec(1_usize..150_000, 1..6),
            algorithm in proptest::sample::select(&Algorithm::ALL[..]),
        ) {
            let content: Vec<u8> = (0..length).map(|n| ((n * 31) >> 3).to_le_bytes()[0]).collect();
            let mut file = gzip::member(&content);
            if nested {
                file = gzip::member(&file);
            }
            let member = Member { offset, size: length as u64, nested };
            let end = usize::try_from(member.content_range(0..member.size).end - offset).unwrap();
            let mut blob = BlobHasher::new(member, algorithm);
            blob.is_pair_faster = is_pair_faster;
            let (mut of_file, mut rest) = (Hasher::default(), &file[..end]);
            for cut in cuts.into_iter().cycle() {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                blob.update_with_file(now, &mut of_file);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert!(!blob.is_damaged);
            prop_assert_eq!(blob.hasher.finish(), algorithm.digest(&content));
            prop_assert_eq!(of_file.finish(), Digest::of(&file[..end]));
            let mut trailer = Vec::new();
            blob.decoder.into_encoder(member).finish(|slice| trailer.extend_from_slice(slice));
            prop_assert_eq!(&trailer[..], &file[end..]);
        }
    }

    #[test]
    fn blob_hasher_damaged_framing_still_hashes_file() {
        let mut file = gzip::member(&[7; 1000]);
        file[11] ^= 1;
        let member = Member { offset: 0, size: 1000, nested: false };
        for is_pair_faster in [true, false] {
            let mut blob = BlobHasher::new(member, Algorithm::Sha256);
            blob.is_pair_faster = is_pair_faster;
            let mut of_file = Hasher::default();
            blob.update_with_file(&file[..500], &mut of_file);
            blob.update_with_file(&file[500..], &mut of_file);
            assert!(blob.is_damaged);
            assert_eq!(of_file.finish(), Digest::of(&file));
        }
    }
}
