//! Lists blobs and files of packages, and streams single ones without unpacking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sample;

use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use compass_bundle::document::BundleKind;
use compass_bundle::{Bundle, BundleSource, Error, Package, SeekSource, stream};
use compass_registry::testing::random_bytes;
use compass_registry::{Digest, ImageSource as _, VerifiedBlob};
use flate2::read::MultiGzDecoder;
use futures_util::TryStreamExt as _;

/// A bundle of two images that share a layer.
async fn bundle_bytes(kind: BundleKind, include_archives: bool) -> Bytes {
    let shared = random_bytes(1, 700_000);
    let images = [vec![shared.clone(), random_bytes(2, 10)], vec![shared, random_bytes(3, 70_000)]];
    let (storage, references) = sample::store(&images).await;
    let plan = sample::plan(&storage, &references, kind, include_archives).await;
    let chunks: Vec<Bytes> = stream(Arc::new(plan), Arc::new(storage)).try_collect().await.unwrap();
    chunks.concat().into()
}

/// The tar archive of a plugin bundle, which is read as a package of other tools.
async fn foreign_bytes() -> Bytes {
    gunzipped(&bundle_bytes(BundleKind::Plugin, false).await).into()
}

fn gunzipped(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut content).unwrap();
    content
}

async fn package(bytes: Bytes) -> Package {
    Package::read(Arc::new(bytes)).await.unwrap()
}

async fn read(blob: VerifiedBlob) -> Result<Bytes, compass_registry::Error> {
    let chunks: Vec<Bytes> = blob.try_collect().await?;
    Ok(chunks.concat().into())
}

async fn packages() -> Vec<Package> {
    let mut packages = Vec::new();
    for (kind, include_archives) in
        [(BundleKind::Plugin, false), (BundleKind::Product, false), (BundleKind::Product, true)]
    {
        packages.push(package(bundle_bytes(kind, include_archives).await).await);
    }
    let source = SeekSource::new("cursor", std::io::Cursor::new(foreign_bytes().await)).unwrap();
    packages.push(Package::read(Arc::new(source)).await.unwrap());
    assert!(packages[3].as_foreign().is_some());
    packages
}

#[tokio::test]
async fn blobs_list_users_and_stream() {
    for package in packages().await {
        let blobs = package.blobs().unwrap();
        let mut sizes: Vec<_> = blobs.iter().map(|blob| blob.descriptor.size).collect();
        sizes.retain(|size| [10, 70_000, 700_000].contains(size));
        sizes.sort_unstable();
        assert_eq!((blobs.len(), &sizes[..]), (5, &[10, 70_000, 700_000][..]));
        for blob in blobs {
            let content = read(package.open_blob(&blob.descriptor.digest).unwrap()).await.unwrap();
            assert_eq!(Digest::of(&content), blob.descriptor.digest);
            let is_shared = blob.descriptor.size == 700_000;
            assert_eq!(blob.images.len(), if is_shared { 2 } else { 1 });
        }
        let missing = package.open_blob(&Digest::of(b"other"));
        assert!(matches!(missing, Err(Error::NoSuchBlob { .. })));
    }
}

#[tokio::test]
async fn files_stream_as_they_are_read() {
    for package in packages().await {
        let files = package.files();
        assert!(!files.is_empty());
        for file in files {
            let content = read(package.open_file(&file.path).unwrap()).await.unwrap();
            assert_eq!((Digest::of(&content), content.len() as u64), (file.digest, file.size));
            assert_eq!(content, package.file(&file.path).await.unwrap());
        }
        assert!(matches!(package.open_file("other"), Err(Error::NoSuchFile { .. })));
    }
}

#[tokio::test]
async fn bundle_document_is_streamed() {
    let package = package(bundle_bytes(BundleKind::Plugin, false).await).await;
    let document = read(package.open_file("bundle.json").unwrap()).await.unwrap();
    assert_eq!(Digest::of(&document), package.as_bundle().unwrap().digest());
}

#[tokio::test]
async fn open_blob_changed_content_is_mismatch() {
    let layer = random_bytes(1, 700_000);
    for bytes in [bundle_bytes(BundleKind::Plugin, false).await, foreign_bytes().await] {
        let at = bytes.windows(64).position(|window| window == &layer[..64]).unwrap();
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let source = SeekSource::new("file", file.reopen().unwrap()).unwrap();
        let package = Package::read(Arc::new(source)).await.unwrap();
        std::fs::write(file.path(), &changed).unwrap();
        let error = read(package.open_blob(&Digest::of(&layer)).unwrap()).await.unwrap_err();
        assert!(error.is_mismatch() || package.as_foreign().is_some(), "{error:?}");
    }
}

#[tokio::test]
async fn blob_member_is_gzip_of_blob() {
    for (kind, is_nested) in [(BundleKind::Product, false), (BundleKind::Plugin, true)] {
        let bytes = bundle_bytes(kind, false).await;
        let bundle = Bundle::read(Arc::new(bytes.clone())).await.unwrap();
        for blob in Package::from(bundle.clone()).blobs().unwrap() {
            let member = bundle.blob_member(&blob.descriptor.digest).unwrap();
            assert_eq!(member.is_nested, is_nested);
            let mut content = BundleSource::read(&bytes, member.range).await.unwrap().to_vec();
            for _ in 0..=usize::from(is_nested) {
                content = gunzipped(&content);
            }
            assert_eq!(Digest::of(&content), blob.descriptor.digest);
        }
        assert_eq!(bundle.blob_member(&Digest::of(b"other")), None);
    }
}

#[tokio::test]
async fn package_is_source_of_its_images() {
    for package in packages().await {
        for image in package.images() {
            let repository = image.reference.repository();
            let reference = image.reference.tag_or_digest();
            let manifest = package.manifest(repository, &reference).await.unwrap();
            assert_eq!(manifest, *image.root);
            for layer in image.layers().unwrap() {
                assert!(package.holds_blob(repository, &layer).await.unwrap());
            }
        }
    }
}
