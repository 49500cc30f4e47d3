//! From a source to a file, and from the file to a registry, with failures at each step.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use compass_bundle::document::BundleKind;
use compass_bundle::store::{DirectoryStore, PublishOptions, Store as _};
use compass_bundle::{
    ArchiveImage, Bundle, BundleContents, BundlePlan, Error, FileEntry, Platforms, VerifyOptions,
    VerifyReport, WriteOptions, install, write,
};
use compass_registry::storage::{MemoryStorage, Storage};
use compass_registry::testing::random_bytes;
use compass_registry::{
    ByteStream, CopyOptions, Descriptor, Digest, Error as RegistryError, ImageRef, ImageSource,
    Platform, RawManifest, Reference, Repository, TagOrDigest, media_type,
};
use futures_util::{StreamExt as _, stream};

fn options() -> WriteOptions {
    WriteOptions::default()
}

fn platform() -> Platform {
    "linux/amd64".parse().unwrap()
}

/// Stores an image with layers of these sizes.
async fn add_image(storage: &MemoryStorage, reference: &Reference, layers: &[usize]) -> Digest {
    let describe = |media_type: &str, bytes: &[u8]| {
        serde_json::to_value(Descriptor::of(media_type, bytes)).unwrap()
    };
    let config = format!(r#"{{"os":"linux","architecture":"amd64","of":"{reference}"}}"#);
    let mut described = Vec::new();
    for (seed, size) in layers.iter().enumerate() {
        let layer = random_bytes(seed as u64 + 1, *size);
        described.push(describe(media_type::OCI_LAYER_GZIP, &layer));
        storage.add_blob(reference.repository(), layer);
    }
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": describe(media_type::OCI_CONFIG, config.as_bytes()),
        "layers": described,
    });
    storage.add_blob(reference.repository(), config);
    let manifest = RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string());
    let (repository, tag) = (reference.repository(), reference.tag());
    Storage::put_manifest(storage, repository, &manifest, tag).await.unwrap();
    manifest.digest()
}

async fn plan(
    source: &(impl ImageSource + Clone + 'static),
    references: &[Reference],
) -> BundlePlan {
    let mut images = Vec::new();
    for reference in references {
        let from = ImageRef::from(reference);
        let platforms = Platforms::One(platform());
        let source = Arc::new(source.clone());
        let image = ArchiveImage::resolve(source, &from, reference.clone(), &platforms).await;
        images.push(image.unwrap());
    }
    let contents = BundleContents::new(BundleKind::Plugin, "gpu", "v0.1.0", platform())
        .commit(Some("0123456789abcdef0123456789abcdef01234567".to_owned()))
        .modified(1_700_000_000)
        .files(vec![FileEntry::new("gpu.yaml", "metadata: {name: gpu}\n")])
        .images(images);
    BundlePlan::new(&contents).unwrap()
}

fn references() -> Vec<Reference> {
    let names = ["compass-plugins-gpu", "compass-plugins-gpu-agent"];
    let texts = names.map(|name| format!("harbor.example/release/{name}:v0.1.0"));
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

async fn source() -> MemoryStorage {
    let storage = MemoryStorage::default();
    for (reference, layers) in references().iter().zip([&[200_000, 0, 1][..], &[65_535, 200_000]]) {
        add_image(&storage, reference, layers).await;
    }
    storage
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn write_is_reproducible_and_has_planned_size() {
    let source = source().await;
    let plan = plan(&source, &references()).await;
    let mut digests = Vec::new();
    for _ in 0..2 {
        let directory = tempfile::tempdir().unwrap();
        let source = Arc::new(source.clone());
        let written = write(&plan, source, directory.path(), &options()).await.unwrap();
        assert_eq!(std::fs::metadata(&written.path).unwrap().len(), plan.size());
        assert_eq!(Digest::of(&std::fs::read(&written.path).unwrap()), written.digest);
        let file = plan.file_name();
        assert_eq!(names_in(directory.path()), [file.clone(), format!("{file}.sha256")]);
        digests.push(written.digest);
    }
    assert_eq!(digests[0], digests[1]);
}

#[tokio::test]
async fn tar_lists_documented_layout() {
    let source = source().await;
    let plan = plan(&source, &references()).await;
    let directory = tempfile::tempdir().unwrap();
    write(&plan, Arc::new(source), directory.path(), &options()).await.unwrap();
    let run = |script: &str| {
        let output = std::process::Command::new("sh")
            .args(["-ec", script])
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let stem = "compass-plugins-gpu-v0.1.0";
    assert_eq!(
        run(&format!(
            "gzip -t {stem}.tar.gz; sha256sum -c --quiet *.sha256; tar tzf {stem}.tar.gz"
        )),
        format!(
            "{stem}/bundle.json\n{stem}/gpu.yaml\n\
             {stem}/gpu-compass-plugins-gpu-v0.1.0-image.tar.gz\n\
             {stem}/gpu-compass-plugins-gpu-agent-v0.1.0-image.tar.gz\n"
        )
    );
    let entries = run(&format!(
        "tar xzf {stem}.tar.gz; cd {stem}; gzip -t gpu-compass-plugins-gpu-v0.1.0-image.tar.gz;
         tar tzf gpu-compass-plugins-gpu-v0.1.0-image.tar.gz"
    ));
    let entries: Vec<_> = entries.lines().collect();
    let first = ["oci-layout", "index.json", "manifest.json", "blobs/", "blobs/sha256/"];
    assert_eq!(entries[..5], first);
    // Manifest, configuration, and three layers, one of them empty.
    assert_eq!(entries.len(), 5 + 2 + 3);
}

#[tokio::test]
async fn installed_image_equals_source() {
    let source = source().await;
    let plan = plan(&source, &references()).await;
    let directory = tempfile::tempdir().unwrap();
    let written =
        write(&plan, Arc::new(source.clone()), directory.path(), &options()).await.unwrap();
    let bundle = Bundle::open(&written.path).await.unwrap();
    let site = MemoryStorage::default();
    let place = "site.example/compass".parse().unwrap();
    let installed =
        install(&bundle.clone().into(), Arc::new(site.clone()), &place, &CopyOptions::default())
            .await
            .unwrap();
    for (installed, original) in installed.iter().zip(references()) {
        let locator = original.tag_or_digest();
        let there = Storage::manifest(&site, installed.reference.repository(), &locator).await;
        let here = Storage::manifest(&source, original.repository(), &locator).await;
        assert_eq!(there.unwrap(), here.unwrap());
        assert!(installed.reference.to_string().starts_with("site.example/compass/"));
    }
}

async fn proven(path: &Path) -> Result<VerifyReport, Error> {
    Bundle::open(path).await?.verify(&VerifyOptions::default()).await
}

#[tokio::test]
async fn verify_finds_any_flipped_bit() {
    let source = source().await;
    let plan = plan(&source, &references()).await;
    let directory = tempfile::tempdir().unwrap();
    let written = write(&plan, Arc::new(source), directory.path(), &options()).await.unwrap();
    let good = std::fs::read(&written.path).unwrap();
    let damaged = directory.path().join("damaged.tar.gz");
    let step = good.len() / 150;
    let ends = [0, 9, 10, 14, good.len() - 9, good.len() - 8, good.len() - 1];
    for position in (0..good.len()).step_by(step).chain(ends) {
        let mut bad = good.clone();
        bad[position] ^= 1 << (position % 8);
        std::fs::write(&damaged, &bad).unwrap();
        let holds = proven(&damaged).await;
        assert!(!holds.is_ok_and(|verified| verified.is_ok()), "byte {position}");
    }
    for length in [0, 9, 1000, good.len() - 1] {
        std::fs::write(&damaged, &good[..length]).unwrap();
        assert!(Bundle::open(&damaged).await.is_err(), "cut to {length} bytes");
    }
}

#[tokio::test]
async fn verify_reports_image_and_range_of_damage() {
    let source = source().await;
    let plan = plan(&source, &references()).await;
    let directory = tempfile::tempdir().unwrap();
    let written = write(&plan, Arc::new(source), directory.path(), &options()).await.unwrap();
    let mut bytes = std::fs::read(&written.path).unwrap();
    let layer = random_bytes(1, 200_000);
    let at = bytes.windows(64).position(|window| window == &layer[..64]).unwrap() + 1000;
    bytes[at] ^= 1;
    std::fs::write(&written.path, bytes).unwrap();
    let verified =
        Bundle::open(&written.path).await.unwrap().verify(&VerifyOptions::default()).await.unwrap();
    assert_eq!(verified.checksum, Some(false));
    let damage = &verified.damages[0];
    assert_eq!(damage.blob, Some(Digest::of(&layer)));
    assert_eq!(damage.image, Some(references()[0].to_string()));
    assert!(damage.range.contains(&(at as u64)));
}

#[tokio::test]
async fn publish_different_content_is_conflict() {
    let source = source().await;
    let store = tempfile::tempdir().unwrap();
    let mut digests = Vec::new();
    for references in [&references()[..], &references()[..1]] {
        let plan = plan(&source, references).await;
        let directory = tempfile::tempdir().unwrap();
        let source = Arc::new(source.clone());
        let written = write(&plan, source, directory.path(), &options()).await.unwrap();
        let document = plan.document();
        let (to, options) = (DirectoryStore::new(store.path()), PublishOptions::default());
        let put = || to.publish(&written.path, document, &options);
        match put().await {
            Ok(published) => {
                assert!(!published.present && put().await.unwrap().present);
                digests.push(published.digest);
            }
            Err(error) => assert!(matches!(error, Error::Conflict { .. }), "{error}"),
        }
    }
    assert_eq!(digests.len(), 1);
    let published = store.path().join("plugins/gpu");
    let file = "compass-plugins-gpu-v0.1.0.tar.gz".to_owned();
    assert_eq!(names_in(&published), [file.clone(), format!("{file}.sha256")]);
}

/// Faults of a registry.
#[derive(Clone, Copy)]
enum Fault {
    FlippedBit,
    Truncated,
    TooLong,
    /// Hangs after a number of bytes.
    Stalls,
    /// Interrupts each response after a number of bytes.
    Interrupts,
}

struct Faulty {
    good: MemoryStorage,
    fault: Fault,
    opened: AtomicU64,
}

#[async_trait]
impl ImageSource for Faulty {
    async fn manifest(
        &self,
        repository: &Repository,
        locator: &TagOrDigest,
    ) -> Result<RawManifest, RegistryError> {
        ImageSource::manifest(&self.good, repository, locator).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, RegistryError> {
        let opened = self.opened.fetch_add(1, Ordering::Relaxed);
        let broken = || RegistryError::Unreachable {
            host: "bad.example".to_owned(),
            request: "a blob".to_owned(),
            source: "connection reset".into(),
        };
        if matches!(self.fault, Fault::Stalls) && opened > 0 {
            return Err(broken());
        }
        let chunks = self.good.read_blob(repository, &descriptor.digest, range.clone()).await?;
        let chunks: Vec<Bytes> = chunks.map(Result::unwrap).collect().await;
        let mut bytes = chunks.concat();
        let end: Option<RegistryError> = match self.fault {
            Fault::FlippedBit if bytes.len() > 10 => {
                bytes[10] ^= 1;
                None
            }
            Fault::Truncated => {
                bytes.truncate(
                    usize::try_from(
                        descriptor.size * 2 / 3 - range.start.min(descriptor.size * 2 / 3),
                    )
                    .unwrap(),
                );
                None
            }
            Fault::TooLong => {
                bytes.extend_from_slice(b"more");
                None
            }
            Fault::Stalls | Fault::Interrupts if bytes.len() > 60_000 => {
                bytes.truncate(50_000);
                Some(broken())
            }
            _ => None,
        };
        let chunks: Vec<_> = bytes.chunks(7000).map(Bytes::copy_from_slice).map(Ok).collect();
        Ok(stream::iter(chunks).chain(stream::iter(end.map(Err))).boxed())
    }
}

#[tokio::test]
async fn write_from_faulty_registry_leaves_no_file() {
    let good = source().await;
    let plan = plan(&good, &references()).await;
    for fault in [Fault::FlippedBit, Fault::Truncated, Fault::TooLong, Fault::Stalls] {
        let directory = tempfile::tempdir().unwrap();
        let faulty = Faulty { good: good.clone(), fault, opened: AtomicU64::new(0) };
        let error = write(&plan, Arc::new(faulty), directory.path(), &options()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/compass-plugins-gpu") && text.contains("sha256:"), "{text}");
        let names = names_in(directory.path());
        assert!(names.iter().all(|name| name.contains(".part")), "{names:?}");
    }
}

#[tokio::test]
async fn write_resumes_interrupted_responses() {
    let good = source().await;
    let plan = plan(&good, &references()).await;
    let directory = tempfile::tempdir().unwrap();
    let faulty = Faulty { good: good.clone(), fault: Fault::Interrupts, opened: AtomicU64::new(0) };
    let written = write(&plan, Arc::new(faulty), directory.path(), &options()).await.unwrap();
    let undisturbed = tempfile::tempdir().unwrap();
    let expected = write(&plan, Arc::new(good), undisturbed.path(), &options()).await.unwrap();
    assert_eq!(written.digest, expected.digest);
}

#[tokio::test]
async fn write_to_full_disk_leaves_no_file() {
    // Writes to `/dev/full` fail as on a full disk. A directory cannot simulate that.
    let source = source().await;
    let plan = plan(&source, &references()).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full");
    std::os::unix::fs::symlink("/dev/full", directory.path().join("full.part")).unwrap();
    let written = compass_bundle::write_as(&plan, Arc::new(source), &path, &options()).await;
    let error = written.unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert!(!path.exists());
}

#[tokio::test]
async fn write_in_progress_is_busy() {
    let source = source().await;
    let plan = plan(&source, &references()).await;
    let directory = tempfile::tempdir().unwrap();
    let part = directory.path().join(format!("{}.part", plan.file_name()));
    let other = std::fs::File::create(part).unwrap();
    other.lock().unwrap();
    let written = write(&plan, Arc::new(source), directory.path(), &options()).await;
    assert!(matches!(written, Err(Error::Busy { .. })), "{written:?}");
}
