//! Installation of foreign packages in one pass.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod archives;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use archives::{config, file, gzip, tar};
use async_trait::async_trait;
use bytes::Bytes;
use compass_bundle::{BundleSource, Error, ForeignPackage, Package, copy_image, install};
use compass_registry::layout::OciLayout;
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::random_bytes;
use compass_registry::{CopyOptions, Digest, ImageSource, ImageSourceExt as _, OnExistingTag};
use serde_json::json;

/// A file in memory that counts reads.
#[derive(Debug)]
struct Counting {
    bytes: Vec<u8>,
    read: AtomicU64,
}

#[async_trait]
impl BundleSource for Counting {
    fn name(&self) -> String {
        "old.tar.gz".to_owned()
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        self.read.fetch_add(range.end - range.start, Ordering::Relaxed);
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        Ok(Bytes::copy_from_slice(&self.bytes[range]))
    }
}

/// The output of `docker save` for an image with these layers.
fn saved_image(name: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let config = config(layers);
    let path = |layer: &Vec<u8>| format!("{}/layer.tar", Digest::of(layer).hex());
    let manifest = json!([{
        "Config": format!("{}.json", Digest::of(&config).hex()),
        "RepoTags": [format!("h.example/release/{name}:v1")],
        "Layers": layers.iter().map(path).collect::<Vec<_>>(),
    }]);
    let mut entries: Vec<_> = layers.iter().map(|layer| file(&path(layer), layer)).collect();
    entries.push(file(&format!("{}.json", Digest::of(&config).hex()), &config));
    entries.push(file("manifest.json", manifest.to_string().as_bytes()));
    tar(&entries)
}

fn layer(seed: u64) -> Vec<u8> {
    tar(&[file("blob", &random_bytes(seed, 100_000))])
}

/// Opens a package. The source counts reads from then on.
async fn scan(bytes: Vec<u8>) -> (Arc<Counting>, ForeignPackage) {
    let source = Arc::new(Counting { bytes, read: AtomicU64::new(0) });
    let package = ForeignPackage::read(source.clone()).await.unwrap();
    (source, package)
}

#[tokio::test]
async fn write_archive_reads_package_once() {
    let layers: Vec<_> = (0..9).map(layer).collect();
    let (source, package) = scan(gzip(&saved_image("app", &layers))).await;
    let scanned = source.read.load(Ordering::Relaxed);
    let directory = tempfile::tempdir().unwrap();
    let layout = Arc::new(OciLayout::new(directory.path()));
    let package = Package::from(package);
    let (image, options) = (&package.images()[0], CopyOptions::default());
    copy_image(image, layout.clone(), &options).await.unwrap();
    assert!(
        source.read.load(Ordering::Relaxed) <= 2 * scanned,
        "the package was read several times"
    );
    let (repository, tag) = (image.reference.repository(), image.reference.tag_or_digest());
    let root = layout.manifest(repository, &tag).await.unwrap();
    assert_eq!(root.digest(), image.root.digest());
    for blob in root.parse().unwrap().distributable_blobs() {
        layout.read(repository, blob).await.unwrap();
    }
}

#[tokio::test]
async fn install_reads_package_once() {
    let archive = |number: u64| {
        let name = format!("app-{number}");
        let archive = saved_image(&name, &[layer(1), layer(10 + number), layer(20 + number)]);
        let archive = if number.is_multiple_of(2) { gzip(&archive) } else { archive };
        file(&format!("gpu/{name}-image.tar.gz"), &archive)
    };
    let archives: Vec<_> = (0..5).map(archive).collect();
    for bytes in [gzip(&tar(&archives)), gzip(&saved_image("app-0", &[layer(1), layer(2)]))] {
        let (source, package) = scan(bytes).await;
        let scanned = source.read.load(Ordering::Relaxed);
        let (place, site) = ("site.example/all".parse().unwrap(), MemoryStorage::default());
        let install = async || {
            install(
                &package.clone().into(),
                Arc::new(site.clone()),
                &place,
                &CopyOptions::default(),
            )
            .await
            .unwrap()
        };
        let installed = install().await;
        assert!(
            source.read.load(Ordering::Relaxed) <= 2 * scanned,
            "the package was read several times"
        );
        assert_eq!(installed.len(), package.images().len());
        let mut moved = 0;
        for image in &installed {
            let tag = image.reference.tag_or_digest();
            let repository = image.reference.repository();
            let root = ImageSource::manifest(&site, repository, &tag).await.unwrap();
            assert_eq!(root.digest(), image.copied.digest);
            for blob in root.parse().unwrap().distributable_blobs() {
                site.read(repository, blob).await.unwrap();
            }
            moved += image.copied.bytes;
        }
        assert!(moved > 0 && moved < source.size() + 50_000, "{moved} bytes");
        let before = source.read.load(Ordering::Relaxed);
        assert!(install().await.iter().all(|image| image.copied.already_present));
        assert_eq!(source.read.load(Ordering::Relaxed), before, "all images exist at the site");
    }
}

#[tokio::test]
async fn install_existing_tag_pushes_nothing() {
    let place = "site.example/all".parse().unwrap();
    for (choice, is_refused) in [(OnExistingTag::Error, true), (OnExistingTag::Keep, false)] {
        let site = MemoryStorage::default();
        let options = CopyOptions::default().on_existing_tag(choice);
        let (_, before) = scan(saved_image("app", &[layer(1)])).await;
        let before = install(&before.clone().into(), Arc::new(site.clone()), &place, &options)
            .await
            .unwrap();
        let (source, package) = scan(saved_image("app", &[layer(2)])).await;
        let scanned = source.read.load(Ordering::Relaxed);
        let installed =
            install(&package.clone().into(), Arc::new(site.clone()), &place, &options).await;
        assert_eq!(source.read.load(Ordering::Relaxed), scanned, "a layer was read: {choice:?}");
        match installed {
            Err(error) => {
                assert!(is_refused && error.to_string().contains("app:v1"), "{error}");
            }
            Ok(installed) => {
                assert_eq!(installed[0].copied.not_copied, Some(package.images()[0].root.digest()));
                assert_eq!(installed[0].copied.digest, before[0].copied.digest);
                assert!(!is_refused);
            }
        }
    }
}
