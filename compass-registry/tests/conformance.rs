//! Tests that all sources and sinks meet their contracts, and that violations are detected.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use compass_registry::client::{Client, ClientOptions};
use compass_registry::layout::OciLayout;
use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::{DiskStorage, MemoryStorage};
use compass_registry::testing::{SampleImage, conformance};
use compass_registry::{
    ByteStream, Descriptor, Digest, Error, ImageSink, ImageSource, RawManifest, Repository, Tag,
    TagOrDigest, VerifiedBlob, media_type,
};
use futures_util::{StreamExt as _, stream};
use serde_json::json;

#[tokio::test]
async fn storages_and_layout_meet_contracts() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Arc::new(MemoryStorage::default());
    assert_eq!(conformance(memory.clone(), memory).await.unwrap(), [""; 0]);
    let disk = Arc::new(DiskStorage::new(directory.path().join("disk")));
    assert_eq!(conformance(disk.clone(), disk).await.unwrap(), [""; 0]);
    let layout = Arc::new(OciLayout::new(directory.path().join("layout")));
    assert_eq!(conformance(layout.clone(), layout).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn registry_meets_contracts() {
    let storage = MemoryStorage::default();
    let server = Server::start(storage, "127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let client = Arc::new(Client::new(&server.host(), ClientOptions::default()).unwrap());
    assert_eq!(conformance(client.clone(), client).await.unwrap(), [""; 0]);
}

/// A source that ignores the start of ranges.
struct IgnoresRanges(MemoryStorage);

#[async_trait]
impl ImageSource for IgnoresRanges {
    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<RawManifest, Error> {
        ImageSource::manifest(&self.0, repository, reference).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        _range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        self.0.blob(repository, descriptor, 0..descriptor.size).await
    }
}

#[tokio::test]
async fn violating_source_is_detected() {
    let storage = MemoryStorage::default();
    let violations =
        conformance(Arc::new(IgnoresRanges(storage.clone())), Arc::new(storage)).await.unwrap();
    assert!(!violations.is_empty());
    assert!(violations.iter().all(|one| one.contains("range of a blob")), "{violations:?}");
}

/// A sink that drops manifests without a tag, claims to have every digest, and reports mounts of
/// missing blobs.
struct ClaimsEverything(MemoryStorage);

#[async_trait]
impl ImageSink for ClaimsEverything {
    async fn manifest_digest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error> {
        match reference {
            TagOrDigest::Digest(digest) => Ok(Some(*digest)),
            TagOrDigest::Tag(_) => self.0.manifest_digest(repository, reference).await,
        }
    }

    async fn has_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        self.0.has_blob(repository, descriptor).await
    }

    async fn put_blob(&self, repository: &Repository, blob: VerifiedBlob) -> Result<(), Error> {
        self.0.put_blob(repository, blob).await
    }

    async fn mount_blob(
        &self,
        _: &Repository,
        _: &Repository,
        _: &Descriptor,
    ) -> Result<bool, Error> {
        Ok(true)
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error> {
        match tag {
            Some(_) => ImageSink::put_manifest(&self.0, repository, manifest, tag).await,
            None => Ok(()),
        }
    }
}

#[tokio::test]
async fn violating_sink_is_detected() {
    let storage = MemoryStorage::default();
    let violations =
        conformance(Arc::new(storage.clone()), Arc::new(ClaimsEverything(storage))).await.unwrap();
    for rule in [
        "a missing manifest has no digest",
        "a mounted blob exists",
        "a manifest written without a tag is read by digest",
        "an image index is read with all its images",
    ] {
        assert!(violations.iter().any(|one| one == rule), "{rule}: {violations:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn layout_concurrent_writers_keep_all_names() {
    let directory = tempfile::tempdir().unwrap();
    let foreign = json!({"schemaVersion": 2, "manifests": [], "annotations": {"kept": "yes"}});
    std::fs::write(directory.path().join("index.json"), foreign.to_string()).unwrap();
    let repository: Repository = "team/web".parse().unwrap();
    let manifest = SampleImage::new(1, &[10]).manifest;
    let writing = (0..20).map(|number| {
        let layout = Arc::new(OciLayout::new(directory.path()));
        let (repository, manifest) = (repository.clone(), manifest.clone());
        tokio::spawn(async move {
            let tag: Tag = format!("v{number}").parse().unwrap();
            layout.put_manifest(&repository, &manifest, Some(&tag)).await.unwrap();
        })
    });
    for one in writing.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    let index = std::fs::read(directory.path().join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 20);
    assert_eq!(index["annotations"]["kept"], "yes");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_upload_session_is_cancelled() {
    let directory = tempfile::tempdir().unwrap();
    let storage = DiskStorage::new(directory.path());
    let server = Server::start(storage, "127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let client = Arc::new(Client::new(&server.host(), ClientOptions::default()).unwrap());
    let content = vec![1; 4 << 20];
    let half =
        stream::iter([Ok(Bytes::from(content[..2 << 20].to_vec()))]).chain(stream::pending());
    let blob = VerifiedBlob::new("x".to_owned(), Descriptor::of("x", &content), half.boxed());
    let repository = "a/b".parse().unwrap();
    let uploads = || std::fs::read_dir(directory.path().join("uploads")).map_or(0, Iterator::count);
    {
        let mut put = Box::pin(client.put_blob(&repository, blob));
        while uploads() == 0 {
            let moment = tokio::time::timeout(Duration::from_millis(10), &mut put).await;
            assert!(moment.is_err(), "{moment:?}");
        }
    }
    let gone = async || {
        while uploads() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, gone()).await.unwrap();

    let trial = client.check_push(&repository).await.unwrap();
    assert_eq!(uploads(), 1);
    drop(trial);
    tokio::time::timeout(limit, gone()).await.unwrap();
}

#[tokio::test]
async fn layout_removes_leftovers_of_killed_writers() {
    let directory = tempfile::tempdir().unwrap();
    let blobs = directory.path().join("blobs");
    std::fs::create_dir(&blobs).unwrap();
    let [left, part] = [blobs.join(".upload-a1"), directory.path().join(".part-a1")];
    let others =
        [blobs.join("mine"), directory.path().join("mine"), blobs.join(".upload-directory")];
    std::fs::create_dir(&others[2]).unwrap();
    for path in [&left, &part, &others[0], &others[1]] {
        std::fs::write(path, "half").unwrap();
    }
    let (repository, tag): (Repository, Tag) =
        ("release/web".parse().unwrap(), "v1".parse().unwrap());
    let manifest = RawManifest::new(media_type::OCI_INDEX, r#"{"schemaVersion":2,"manifests":[]}"#);
    let layout = Arc::new(OciLayout::new(directory.path()));
    layout.put_manifest(&repository, &manifest, Some(&tag)).await.unwrap();
    assert!(!left.exists() && !part.exists());
    assert!(others.iter().all(|path| path.exists()));

    // While one process writes, another one removes nothing.
    std::fs::write(&left, "half").unwrap();
    let second = OciLayout::new(directory.path());
    second.put_manifest(&repository, &manifest, Some(&tag)).await.unwrap();
    assert!(left.exists());
    drop((layout, second));
    let third = OciLayout::new(directory.path());
    third.manifest_digest(&repository, &tag.into()).await.unwrap();
    assert!(!left.exists());
}
