//! A conformance test of sources and sinks.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use super::rng::random_bytes;
use super::sample::{SampleImage, read_image};
use crate::{
    Descriptor, Digest, Error, ImageRef, ImageSink, ImageSource, RawManifest, Repository, Tag,
    TagOrDigest, VerifiedBlob, media_type,
};

/// The tested source and sink, and the contract violations found.
struct Conformance {
    source: Arc<dyn ImageSource>,
    sink: Arc<dyn ImageSink>,
    repository: Repository,
    violations: Vec<String>,
}

/// Tests whether a source and a sink meet the contracts of [`ImageSource`] and [`ImageSink`], and
/// returns the violations.
///
/// `source` and `sink` must access the same storage or registry. Images are written to repositories
/// that start with `compass-conformance/`.
///
/// ```
/// use std::sync::Arc;
///
/// use compass_registry::storage::MemoryStorage;
/// use compass_registry::testing::conformance;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), compass_registry::Error> {
/// let storage = Arc::new(MemoryStorage::default());
/// assert_eq!(conformance(storage.clone(), storage).await?, [""; 0]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The first error that prevents a test from running.
pub async fn conformance(
    source: Arc<dyn ImageSource>,
    sink: Arc<dyn ImageSink>,
) -> Result<Vec<String>, Error> {
    let repository = "compass-conformance/web".parse()?;
    let mut conformance = Conformance { source, sink, repository, violations: Vec::new() };
    conformance.missing_content().await?;
    conformance.blobs().await?;
    conformance.mismatched_blobs().await?;
    conformance.manifests().await?;
    conformance.mounts().await?;
    conformance.indexes().await?;
    Ok(conformance.violations)
}

impl Conformance {
    fn check(&mut self, holds: bool, rule: &str) {
        if !holds {
            self.violations.push(rule.to_owned());
        }
    }

    /// Reads an image of the tested repository.
    async fn read_image(&self, reference: impl Into<TagOrDigest>) -> Result<RawManifest, Error> {
        let image = ImageRef::new(self.repository.clone(), reference);
        read_image(Arc::clone(&self.source), &image).await
    }

    async fn has(&self, bytes: &[u8]) -> Result<bool, Error> {
        self.sink.has_blob(&self.repository, &describe(bytes)).await
    }

    async fn put(&self, promised: &[u8], sent: &[u8]) -> Result<(), Error> {
        let chunks: Vec<_> = sent.chunks(1000).map(|one| Ok(Bytes::copy_from_slice(one))).collect();
        let blob = verified(promised, stream::iter(chunks).boxed());
        self.sink.put_blob(&self.repository, blob).await
    }

    async fn missing_content(&mut self) -> Result<(), Error> {
        let tag: Tag = "never-pushed".parse()?;
        let manifest = self.source.manifest(&self.repository, &tag.clone().into()).await;
        self.check(
            manifest.is_err_and(|error| error.is_not_found()),
            "a missing manifest is `NotFound`",
        );
        let digest = self.sink.manifest_digest(&self.repository, &tag.into()).await?;
        self.check(digest.is_none(), "a missing tag has no digest");
        let by_digest = TagOrDigest::Digest(Digest::of(b"never pushed"));
        let digest = self.sink.manifest_digest(&self.repository, &by_digest).await?;
        self.check(digest.is_none(), "a missing manifest has no digest");
        let absent = b"never pushed";
        let blob = self.source.blob(&self.repository, &describe(absent), 0..12).await;
        let read = match blob {
            Ok(bytes) => bytes.try_collect::<Vec<_>>().await.map(drop),
            Err(error) => Err(error),
        };
        self.check(read.is_err_and(|error| error.is_not_found()), "a missing blob is `NotFound`");
        let there = self.has(absent).await?;
        self.check(!there, "a missing blob is reported as missing");
        Ok(())
    }

    async fn blobs(&mut self) -> Result<(), Error> {
        let large = random_bytes(5, 300_000);
        for blob in [&large[..], b"x", b""] {
            self.put(blob, blob).await?;
            self.put(blob, blob).await?;
            let there = self.has(blob).await?;
            self.check(there, "a stored blob exists");
            let end = blob.len() as u64;
            for range in [0..end, end / 2..end, end / 3..end / 2] {
                let read = self.read(blob, range.clone()).await?;
                let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
                let wanted = &blob[at(range.start)..at(range.end)];
                self.check(
                    read.get(..wanted.len()) == Some(wanted),
                    "a range of a blob starts with its bytes",
                );
            }
        }
        Ok(())
    }

    async fn read(&self, blob: &[u8], range: Range<u64>) -> Result<Vec<u8>, Error> {
        let bytes = self.source.blob(&self.repository, &describe(blob), range).await?;
        Ok(bytes.try_collect::<Vec<_>>().await?.concat())
    }

    async fn mismatched_blobs(&mut self) -> Result<(), Error> {
        let promised = random_bytes(6, 20_000);
        let mut wrong = promised.clone();
        wrong[15_000] ^= 1;
        let cut = &promised[..promised.len() - 1];
        for sent in [&wrong[..], cut, b""] {
            let put = self.put(&promised, sent).await;
            self.check(put.is_err(), "mismatched bytes are rejected");
            let there = self.has(&promised).await?;
            self.check(!there, "a rejected blob does not exist");
        }
        let half = stream::iter([Ok(Bytes::copy_from_slice(&promised[..10_000]))]);
        let stuck = verified(&promised, half.chain(stream::pending()).boxed());
        // Poll a few times, then drop.
        let mut put = self.sink.put_blob(&self.repository, stuck);
        for _ in 0..50 {
            if (&mut put).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(put);
        let there = self.has(&promised).await?;
        self.check(!there, "a blob with a cancelled upload does not exist");
        Ok(())
    }

    async fn manifests(&mut self) -> Result<(), Error> {
        let tag: Tag = "v1".parse()?;
        let by_tag = TagOrDigest::from(tag.clone());
        let images = [SampleImage::new(7, &[4000, 10]), SampleImage::new(8, &[5000])];
        for image in &images {
            for blob in &image.blobs {
                self.put(blob, blob).await?;
            }
            self.sink.put_manifest(&self.repository, &image.manifest, Some(&tag)).await?;
            let digest = self.sink.manifest_digest(&self.repository, &by_tag).await?;
            self.check(
                digest == Some(image.manifest.digest()),
                "a tag points at the manifest written last",
            );
            let resolved = self.source.resolve(&self.repository, &by_tag).await?;
            self.check(resolved == image.manifest.digest(), "a source resolves a tag to a digest");
            let whole = self.read_image(by_tag.clone()).await;
            self.check(
                whole.is_ok_and(|manifest| is_same(&manifest, &image.manifest)),
                "an image is read with the bytes and media type it was written with",
            );
        }
        let first = TagOrDigest::Digest(images[0].manifest.digest());
        let kept = self.read_image(first).await;
        self.check(kept.is_ok(), "an image whose tag moved remains available by digest");
        Ok(())
    }
}

impl Conformance {
    async fn mounts(&mut self) -> Result<(), Error> {
        let other_repository: Repository = "compass-conformance/other_repository".parse()?;
        let (there, absent) = (random_bytes(9, 5000), b"never pushed anywhere");
        self.put(&there, &there).await?;
        let own = self.repository.clone();
        for (blob, is_there) in [(&there[..], true), (absent, false)] {
            let descriptor = describe(blob);
            let mounted = self.sink.mount_blob(&own, &other_repository, &descriptor).await;
            if !mounted.unwrap_or(false) {
                continue;
            }
            let has = self.sink.has_blob(&other_repository, &descriptor).await?;
            self.check(has && is_there, "a mounted blob exists");
        }
        Ok(())
    }

    async fn indexes(&mut self) -> Result<(), Error> {
        let (tag, mut described): (Tag, _) = ("index".parse()?, Vec::new());
        for seed in [10, 11] {
            let image = SampleImage::new(seed, &[3000]);
            for blob in &image.blobs {
                self.put(blob, blob).await?;
            }
            self.sink.put_manifest(&self.repository, &image.manifest, None).await?;
            let by_digest = TagOrDigest::Digest(image.manifest.digest());
            let digest = self.sink.manifest_digest(&self.repository, &by_digest).await?;
            self.check(
                digest == Some(image.manifest.digest()),
                "a manifest written without a tag exists by digest",
            );
            let read = self.source.manifest(&self.repository, &by_digest).await;
            self.check(
                read.is_ok_and(|manifest| is_same(&manifest, &image.manifest)),
                "a manifest written without a tag is read by digest",
            );
            described.push(json!(image.manifest.descriptor()));
        }
        let index = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": described,
        });
        let index = RawManifest::new(media_type::OCI_INDEX, index.to_string());
        self.sink.put_manifest(&self.repository, &index, Some(&tag)).await?;
        let whole = self.read_image(tag).await;
        self.check(
            whole.is_ok_and(|manifest| is_same(&manifest, &index)),
            "an image index is read with all its images",
        );
        Ok(())
    }
}

fn is_same(one: &RawManifest, other: &RawManifest) -> bool {
    one.bytes() == other.bytes() && one.descriptor().media_type == other.descriptor().media_type
}

fn describe(bytes: &[u8]) -> Descriptor {
    Descriptor::of("application/octet-stream", bytes)
}

fn verified(promised: &[u8], bytes: crate::ByteStream) -> VerifiedBlob {
    VerifiedBlob::new("the test blob".to_owned(), describe(promised), bytes)
}
