//! Images of bundles and OCI layouts as a read-only storage.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sample;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use compass_bundle::document::BundleKind;
use compass_bundle::{Bundle, Error, ImageCatalog, WriteOptions, write};
use compass_registry::layout::OciLayout;
use compass_registry::storage::Storage as _;
use compass_registry::testing::{SampleImage, random_bytes, read_image};
use compass_registry::{
    Digest, ImageRef, ImageSink as _, RawManifest, Repository, Tag, VerifiedBlob, media_type,
};
use futures_util::TryStreamExt as _;

/// Writes a bundle with these images, `h.example/release/app-N:v1`.
async fn bundle(directory: &Path, kind: BundleKind, images: &[Vec<Vec<u8>>]) -> Bundle {
    let (storage, references) = sample::store(images).await;
    let plan = sample::plan(&storage, &references, kind, false).await;
    std::fs::create_dir_all(directory).unwrap();
    let path = directory.join(plan.file_name());
    write(&plan, Arc::new(storage), directory, &WriteOptions::default()).await.unwrap();
    Bundle::open(&path).await.unwrap()
}

fn name(text: &str) -> Repository {
    text.parse().unwrap()
}

async fn layer_of(catalog: &ImageCatalog, repository: &str, digest: &Digest) -> Vec<u8> {
    let bytes = catalog.read_blob(&name(repository), digest, 0..u64::MAX).await.unwrap();
    let chunks: Vec<Bytes> = bytes.try_collect().await.unwrap();
    chunks.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn catalog_reads_images_of_bundles() {
    let directory = tempfile::tempdir().unwrap();
    let layers = vec![random_bytes(1, 300_000), Vec::new(), random_bytes(2, 65_535)];
    for (number, kind) in [BundleKind::Plugin, BundleKind::Product].into_iter().enumerate() {
        let place = directory.path().join(number.to_string());
        let bundle = bundle(&place, kind, &[layers.clone(), vec![layers[0].clone()]]).await;
        let mut catalog = ImageCatalog::default();
        catalog.add_bundle(&bundle).unwrap();
        let shared: Digest = Digest::of(&layers[0]);
        assert_eq!(catalog.hosts().collect::<Vec<_>>(), ["h.example"]);
        assert_eq!(catalog.tag_count(), 2);
        let size = catalog.blob_size(&name("release/app-1"), &shared).await.unwrap();
        assert_eq!(size, Some(300_000));
        assert_eq!(layer_of(&catalog, "release/app-0", &shared).await, layers[0]);
        // A blob belongs to the repositories of its images only.
        let last = Digest::of(&layers[2]);
        assert_eq!(catalog.blob_size(&name("release/app-1"), &last).await.unwrap(), None);
        let part =
            catalog.read_blob(&name("release/app-0"), &shared, 65_000..200_000).await.unwrap();
        let part: Vec<Bytes> = part.try_collect().await.unwrap();
        assert_eq!(part.concat(), layers[0][65_000..200_000]);
        let catalog = Arc::new(catalog);
        for number in 0..2 {
            let tag: Tag = "v1".parse().unwrap();
            let image = ImageRef::new(name(&format!("release/app-{number}")), tag);
            read_image(catalog.clone(), &image).await.unwrap();
        }
    }
}

#[tokio::test]
async fn catalog_equal_tag_names_both_bundles() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    let first = bundle(&one, BundleKind::Plugin, &[vec![b"first".to_vec()]]).await;
    let same = bundle(&two, BundleKind::Product, &[vec![b"first".to_vec()]]).await;
    let other = bundle(&two, BundleKind::Hotfix, &[vec![b"other".to_vec()]]).await;
    let mut catalog = ImageCatalog::default();
    catalog.add_bundle(&first).unwrap();
    catalog.add_bundle(&same).unwrap();
    let Err(Error::InvalidInput(message)) = catalog.add_bundle(&other) else {
        panic!("another image has the tag")
    };
    assert!(message.contains(&first.name()) && message.contains(&other.name()), "{message}");
    assert!(message.starts_with("release/app-0:v1 has digest sha256:"), "{message}");
}

#[tokio::test]
async fn catalog_damaged_blob_has_no_end() {
    let directory = tempfile::tempdir().unwrap();
    let layer = random_bytes(3, 300_000);
    let bundle = bundle(directory.path(), BundleKind::Plugin, &[vec![layer.clone()]]).await;
    let mut file = std::fs::read(bundle.name()).unwrap();
    let digest = Digest::of(&layer);
    let middle = usize::try_from(bundle.blob_member(&digest).unwrap().range.start).unwrap();
    file[middle + 150_000] ^= 1;
    let mut catalog = ImageCatalog::default();
    catalog.add_bundle(&Bundle::read(Arc::new(Bytes::from(file))).await.unwrap()).unwrap();
    let bytes = catalog.read_blob(&name("release/app-0"), &digest, 0..300_000).await.unwrap();
    let read: Result<Vec<Bytes>, _> = bytes.try_collect().await;
    assert!(read.unwrap_err().to_string().contains("the gzip checksum"));
}

/// Writes an image to an OCI layout under its repository and tag.
async fn add_to_layout(layout: &OciLayout, image: &SampleImage, repository: &str, tag: &str) {
    for blob in &image.blobs {
        let descriptor = compass_registry::Descriptor::of("application/octet-stream", blob);
        let bytes = futures_util::stream::iter([Ok(Bytes::from(blob.clone()))]);
        let blob = VerifiedBlob::new(String::new(), descriptor, Box::pin(bytes));
        layout.put_blob(&name(repository), blob).await.unwrap();
    }
    let tag = tag.parse().unwrap();
    layout.put_manifest(&name(repository), &image.manifest, Some(&tag)).await.unwrap();
}

#[tokio::test]
async fn catalog_serves_layout_beside_bundle() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = bundle(directory.path(), BundleKind::Plugin, &[vec![b"layer".to_vec()]]).await;
    let path = directory.path().join("My_images");
    let layout = OciLayout::new(&path);
    let image = SampleImage::new(7, &[100_000]);
    add_to_layout(&layout, &image, "team/web", "v2").await;
    let subject = image.manifest.digest();
    let signature = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"text/sig","digest":"{}","size":{}}},"layers":[],"subject":{{"mediaType":"{}","digest":"{subject}","size":{}}}}}"#,
        media_type::OCI_MANIFEST,
        Digest::of(&image.blobs[0]),
        image.blobs[0].len(),
        media_type::OCI_MANIFEST,
        image.manifest.bytes().len(),
    );
    let signature = RawManifest::new(media_type::OCI_MANIFEST, signature);
    let tag: Tag = "sig".parse().unwrap();
    layout.put_manifest(&name("team/web"), &signature, Some(&tag)).await.unwrap();
    // An image whose name is only a tag is in a repository with the name of the directory.
    let index = std::fs::read_to_string(path.join("index.json")).unwrap();
    std::fs::write(path.join("index.json"), index.replace("team/web:sig", "sig")).unwrap();

    let mut catalog = ImageCatalog::default();
    catalog.add_bundle(&bundle).unwrap();
    catalog.add_layout(&path).await.unwrap();
    let repositories = catalog.repositories().await.unwrap();
    assert_eq!(repositories, [name("my-images"), name("release/app-0"), name("team/web")]);
    let tags = catalog.tags(&name("my-images")).await.unwrap();
    assert_eq!(tags, Some(vec![tag]));
    assert_eq!(layer_of(&catalog, "team/web", &Digest::of(&image.blobs[1])).await, image.blobs[1]);
    let referrers = catalog.referrers(&name("my-images"), &subject).await.unwrap();
    assert_eq!(referrers, [signature.digest()]);
    assert_eq!(catalog.hosts().collect::<Vec<_>>(), ["h.example"]);
}

#[tokio::test]
async fn catalog_incomplete_layout_is_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut catalog = ImageCatalog::default();
    let refused = catalog.add_layout(directory.path()).await.unwrap_err().to_string();
    assert!(refused.contains("a directory without `index.json`"), "{refused}");
    let image = SampleImage::new(7, &[1000]);
    let layout = OciLayout::new(directory.path());
    add_to_layout(&layout, &image, "team/web", "v2").await;
    let layer = directory.path().join("blobs/sha256").join(Digest::of(&image.blobs[1]).hex());
    std::fs::write(&layer, "short").unwrap();
    let refused = catalog.add_layout(directory.path()).await.unwrap_err().to_string();
    assert!(refused.contains("has 5 bytes instead of 1000"), "{refused}");
    std::fs::remove_file(&layer).unwrap();
    let refused = catalog.add_layout(directory.path()).await.unwrap_err().to_string();
    assert!(refused.contains("is missing"), "{refused}");
}
