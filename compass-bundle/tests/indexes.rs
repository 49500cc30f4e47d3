//! Image indexes with omitted platforms, and non-distributable layers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod archives;
mod sample;

use std::sync::Arc;

use compass_bundle::{
    ArchiveImage, Bundle, BundleContents, BundlePlan, Package, Platforms, VerifyOptions,
    WriteOptions, compare, copy_image, install, write,
};
use compass_registry::layout::OciLayout;
use compass_registry::storage::{MemoryStorage, Storage};
use compass_registry::testing::{SampleImage, random_bytes, read_image};
use compass_registry::{
    CopyOptions, Descriptor, Digest, ImageRef, ImageSource, ImageSourceExt as _, Manifest,
    Platform, RawManifest, Reference, media_type,
};
use serde_json::{Value, json};

/// Stores an index with an image for each platform, whose layers have 2000 bytes. Returns its
/// digest.
async fn store_index(
    storage: &MemoryStorage,
    name: &Reference,
    platforms: &[(&str, u64)],
) -> Digest {
    let mut entries = Vec::new();
    for (platform, seed) in platforms {
        let image = SampleImage::with_layers(vec![random_bytes(*seed, 2000)]);
        for blob in &image.blobs {
            storage.add_blob(name.repository(), blob.clone());
        }
        Storage::put_manifest(storage, name.repository(), &image.manifest, None).await.unwrap();
        let (os, architecture) = platform.split_once('/').unwrap();
        let mut entry = serde_json::to_value(image.manifest.descriptor()).unwrap();
        entry["platform"] = json!({"os": os, "architecture": architecture});
        entries.push(entry);
    }
    put_index(storage, name, &entries).await
}

async fn put_index(storage: &MemoryStorage, name: &Reference, entries: &[Value]) -> Digest {
    let index =
        json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries});
    let index = RawManifest::new(media_type::OCI_INDEX, index.to_string());
    let tag = "v1".parse().unwrap();
    Storage::put_manifest(storage, name.repository(), &index, Some(&tag)).await.unwrap();
    index.digest()
}

async fn gather(
    storage: &MemoryStorage,
    name: &Reference,
    platforms: &Platforms,
) -> Result<ArchiveImage, compass_bundle::Error> {
    let from = ImageRef::from(name);
    ArchiveImage::resolve(Arc::new(storage.clone()), &from, name.clone(), platforms).await
}

fn several(platforms: &[&str]) -> Platforms {
    Platforms::Several(platforms.iter().map(|platform| platform.parse().unwrap()).collect())
}

fn web() -> Reference {
    "h.example/release/web:v1".parse().unwrap()
}

async fn bundle_of(
    storage: &MemoryStorage,
    contents: &BundleContents,
) -> (tempfile::TempDir, Bundle) {
    let plan = BundlePlan::new(contents).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (source, options) = (Arc::new(storage.clone()), WriteOptions::default());
    let written = write(&plan, source, directory.path(), &options).await.unwrap();
    let bundle = Bundle::open(&written.path).await.unwrap();
    assert!(bundle.verify(&VerifyOptions::default()).await.unwrap().is_ok());
    (directory, bundle)
}

/// The platforms of a complete index in a source.
async fn platforms_at(source: Arc<dyn ImageSource>, name: &Reference) -> Vec<String> {
    let root = read_image(source, &name.into()).await.unwrap();
    let Manifest::Index(images) = root.parse().unwrap() else { return Vec::new() };
    images.iter().map(|image| image.platform.as_ref().map(Platform::to_string).unwrap()).collect()
}

#[tokio::test]
async fn resolve_index_digest_requires_all_platforms() {
    let storage = MemoryStorage::default();
    let platforms = [("linux/amd64", 1), ("linux/arm64", 2)];
    let digest = store_index(&storage, &web(), &platforms).await;
    let pinned: Reference = format!("h.example/release/web:v1@{digest}").parse().unwrap();
    for part in [Platforms::One(sample::platform()), several(&["linux/amd64"])] {
        let refused = gather(&storage, &pinned, &part).await.unwrap_err().to_string();
        assert!(
            refused.contains("include all platforms") && refused.contains("web:v1@"),
            "{refused}"
        );
        gather(&storage, &web(), &part).await.unwrap();
    }
    for whole in [Platforms::All(sample::platform()), several(&["linux/amd64", "linux/arm64"])] {
        gather(&storage, &pinned, &whole).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_index_is_installed_and_extracted() {
    let storage = MemoryStorage::default();
    let platforms =
        [("linux/amd64", 1), ("linux/arm64", 2), ("windows/amd64", 3), ("windows/amd64", 4)];
    store_index(&storage, &web(), &platforms).await;
    let wanted = several(&["linux/amd64", "windows/amd64"]);
    let image = gather(&storage, &web(), &wanted).await.unwrap();
    let (directory, bundle) = bundle_of(&storage, &sample::product(vec![image], true)).await;
    let expected = ["linux/amd64", "windows/amd64", "windows/amd64"];

    let (site, options) = (MemoryStorage::default(), CopyOptions::default());
    install(
        &bundle.clone().into(),
        Arc::new(site.clone()),
        &"site.example".parse().unwrap(),
        &options,
    )
    .await
    .unwrap();
    assert_eq!(platforms_at(Arc::new(site.clone()), &web()).await, expected);
    let layout = Arc::new(OciLayout::new(directory.path().join("layout")));
    let package = Package::from(bundle);
    copy_image(&package.images()[0], layout.clone(), &options).await.unwrap();
    assert_eq!(platforms_at(layout, &web()).await, expected);
}

/// The output of `docker save` for an index of which one platform was pulled.
async fn saved_index(storage: &MemoryStorage, kept: usize) -> Vec<u8> {
    let root =
        ImageSource::manifest(storage, web().repository(), &web().tag_or_digest()).await.unwrap();
    let Manifest::Index(images) = root.parse().unwrap() else { panic!("an index") };
    let blob = |digest: &Digest, bytes: &[u8]| {
        archives::file(&format!("blobs/sha256/{}", digest.hex()), bytes)
    };
    let mut entries = vec![blob(&root.digest(), root.bytes())];
    for image in &images[..kept] {
        let child = image.digest.into();
        let child = ImageSource::manifest(storage, web().repository(), &child).await.unwrap();
        entries.push(blob(&child.digest(), child.bytes()));
        for held in child.parse().unwrap().distributable_blobs() {
            let content = storage.read(web().repository(), held).await.unwrap();
            entries.push(blob(&held.digest, &content));
        }
    }
    let mut named = serde_json::to_value(root.descriptor()).unwrap();
    named["annotations"] = json!({"io.containerd.image.name": web().to_string()});
    let index = json!({"schemaVersion": 2, "manifests": [named]});
    entries.push(archives::file("index.json", index.to_string().as_bytes()));
    archives::tar(&entries)
}

#[tokio::test(flavor = "multi_thread")]
async fn saved_index_is_installed_and_extracted() {
    let storage = MemoryStorage::default();
    let platforms = [("linux/amd64", 1), ("linux/arm64", 2), ("linux/s390x", 3)];
    store_index(&storage, &web(), &platforms).await;
    for (kept, expected) in [
        (1, &[][..]),
        (2, &["linux/amd64", "linux/arm64"]),
        (3, &["linux/amd64", "linux/arm64", "linux/s390x"]),
    ] {
        let archive = saved_index(&storage, kept).await;
        let package = archives::scan(&archives::gzip(&archives::package(&archive))).await;
        let (site, options) = (MemoryStorage::default(), CopyOptions::default());
        let place = "site.example".parse().unwrap();
        install(&package.clone().into(), Arc::new(site.clone()), &place, &options).await.unwrap();
        assert_eq!(platforms_at(Arc::new(site.clone()), &web()).await, expected, "{kept}");

        let directory = tempfile::tempdir().unwrap();
        let layout = Arc::new(OciLayout::new(directory.path().join("layout")));
        let package = Package::from(package);
        let image = &package.images()[0];
        copy_image(image, layout.clone(), &options).await.unwrap();
        assert_eq!(platforms_at(layout, &web()).await, expected, "{kept}");

        let path = directory.path().join("web.tar.gz");
        image.write_archive(&path, &WriteOptions::default()).await.unwrap();
        let again = archives::scan(&std::fs::read(&path).unwrap()).await;
        assert_eq!(again.images()[0].children.len(), kept);
        assert_eq!(archives::problems(&again), [""; 0]);
    }
}

/// Stores an index with an image for Linux and one for Windows with a non-distributable base layer.
/// Returns the digest of the index, and the layer.
async fn store_windows(storage: &MemoryStorage) -> (Digest, &'static [u8]) {
    let (base, image) = (b"their own", SampleImage::with_layers(vec![random_bytes(1, 2000)]));
    let on_base = SampleImage::with_layers(vec![base.to_vec(), random_bytes(1, 2000)]);
    let held = on_base.blobs.iter().filter(|blob| blob[..] != base[..]);
    for blob in image.blobs.iter().chain(held) {
        storage.add_blob(web().repository(), blob.clone());
    }
    let mut windows: Value = serde_json::from_slice(on_base.manifest.bytes()).unwrap();
    windows["layers"][0]["mediaType"] =
        json!("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
    let windows = RawManifest::new(media_type::OCI_MANIFEST, windows.to_string());
    let mut entries = Vec::new();
    for (manifest, os) in [(&image.manifest, "linux"), (&windows, "windows")] {
        Storage::put_manifest(storage, web().repository(), manifest, None).await.unwrap();
        let mut entry = serde_json::to_value(manifest.descriptor()).unwrap();
        entry["platform"] = json!({"os": os, "architecture": "amd64"});
        entries.push(entry);
    }
    (put_index(storage, &web(), &entries).await, base)
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_nondistributable_layer_is_reported() {
    let storage = MemoryStorage::default();
    let (index, base) = store_windows(&storage).await;

    let whole = gather(&storage, &web(), &Platforms::All(sample::platform())).await.unwrap();
    assert_eq!(whole.unavailable, [Digest::of(base)]);
    let (_directory, bundle) = bundle_of(&storage, &sample::product(vec![whole], true)).await;
    assert_eq!(bundle.images()[0].unavailable, [Digest::of(base)]);
    let site = MemoryStorage::default();
    let place = "site.example".parse().unwrap();
    let installed =
        install(&bundle.clone().into(), Arc::new(site.clone()), &place, &CopyOptions::default())
            .await
            .unwrap();
    assert_eq!(installed[0].copied.digest, index);
    assert_eq!(installed[0].copied.unavailable, [Digest::of(base)]);

    // An archive without the layer cannot be loaded.
    let alone = Platforms::One("windows/amd64".parse().unwrap());
    let alone = gather(&storage, &web(), &alone).await.unwrap();
    let archives = sample::product(vec![alone.clone()], true);
    let refused = BundlePlan::new(&archives).unwrap_err().to_string();
    assert!(refused.contains("non-distributable layer sha256:"), "{refused}");
    // A bundle without archives may omit the layer.
    let (_other, alone) = bundle_of(&storage, &sample::product(vec![alone], false)).await;
    let compared = compare(&Package::Bundle(bundle), &Package::Bundle(alone)).await.unwrap();
    assert_eq!(compared.images.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nondistributable_layer_at_source_is_included() {
    let storage = MemoryStorage::default();
    let (index, base) = store_windows(&storage).await;
    storage.add_blob(web().repository(), base);
    for (platforms, archives) in [
        (Platforms::All(sample::platform()), false),
        (Platforms::All(sample::platform()), true),
        (Platforms::One("windows/amd64".parse().unwrap()), true),
    ] {
        let image = gather(&storage, &web(), &platforms).await.unwrap();
        let mut contents = sample::product(vec![image], archives);
        contents.platform = platforms.default_platform().clone();
        let (_directory, bundle) = bundle_of(&storage, &contents).await;
        assert_eq!(bundle.images()[0].unavailable, []);
        let site = MemoryStorage::default();
        let place = "site.example".parse().unwrap();
        let installed = install(
            &bundle.clone().into(),
            Arc::new(site.clone()),
            &place,
            &CopyOptions::default(),
        )
        .await
        .unwrap();
        assert_eq!(installed[0].copied.unavailable, []);
        let layer = Descriptor::of("x", base);
        assert_eq!(&site.read(web().repository(), &layer).await.unwrap()[..], base);
        let whole = matches!(platforms, Platforms::All(_));
        assert_eq!(installed[0].copied.digest == index, whole);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compare_shows_change_of_one_platform() {
    let mut opened = Vec::new();
    for seed in [2, 9] {
        let storage = MemoryStorage::default();
        store_index(&storage, &web(), &[("linux/amd64", 1), ("linux/arm64", seed)]).await;
        let all = Platforms::All(sample::platform());
        let image = gather(&storage, &web(), &all).await.unwrap();
        let (directory, bundle) = bundle_of(&storage, &sample::product(vec![image], true)).await;
        opened.push((Package::Bundle(bundle), directory));
    }
    let changed = compare(&opened[0].0, &opened[1].0).await.unwrap();
    let [image] = &changed.images[..] else { panic!("one image: {changed:?}") };
    assert_eq!((image.shared.len(), image.removed.len(), image.added.len()), (1, 1, 1));
}
