//! Guarantees for programs that use this crate as a library.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sample;

use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use compass_bundle::document::{BundleDocument, BundleKind};
use compass_bundle::store::{DirectoryStore, PublishOptions, Store as _, store_path};
use compass_bundle::{
    ArchiveImage, Bundle, BundlePlan, BundleSource, Error, FileEntry, ForeignPackage, OutputStream,
    Package, Platforms, VerifyOptions, WriteOptions, copy_image, install, stream, write,
    write_into,
};
use compass_registry::storage::{MemoryStorage, Storage as _};
use compass_registry::testing::random_bytes;
use compass_registry::{
    CopyOptions, ImageRef, ImageSink, ImageSource, NoProgress, Progress, Reference, RegistryPrefix,
};
use futures_util::TryStreamExt as _;
use sample::{Counting, Shared};

/// A bundle in memory that becomes unreachable after a number of reads.
#[derive(Debug)]
struct InMemory {
    bytes: Bytes,
    left: AtomicU64,
}

#[async_trait]
impl BundleSource for InMemory {
    fn name(&self) -> String {
        "far away".to_owned()
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let spent =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if spent.is_err() {
            let (address, source) = ("https://far/away".to_owned(), "connection reset".into());
            return Err(Error::Store { action: "read", address, source });
        }
        let within = |position| usize::try_from(position).unwrap();
        Ok(self.bytes.slice(within(range.start)..within(range.end)))
    }
}

/// A bundle in memory with one image that has a layer of this size.
async fn bundle_of(bytes: usize) -> Bytes {
    let (storage, references) = sample::store(&[vec![random_bytes(1, bytes)]]).await;
    let plan = sample::plan(&storage, &references, BundleKind::Plugin, false).await;
    let chunks: Vec<Bytes> = stream(Arc::new(plan), Arc::new(storage)).try_collect().await.unwrap();
    chunks.concat().into()
}

fn in_memory(bytes: Bytes) -> Arc<InMemory> {
    Arc::new(InMemory { bytes, left: AtomicU64::new(u64::MAX) })
}

fn site() -> RegistryPrefix {
    "site.example/all".parse().unwrap()
}

#[tokio::test]
async fn write_plan_of_opened_bundle_is_error() {
    let bundle = Bundle::read(in_memory(bundle_of(1000).await)).await.unwrap();
    let (plan, bundle) = (Arc::new(bundle.plan().clone()), Arc::new(bundle));
    let streamed = stream(Arc::clone(&plan), bundle.clone()).try_collect::<Vec<_>>().await;
    let mut sink = Vec::new();
    let to = OutputStream::new(&mut sink, Path::new("sink"));
    let written_into = write_into(&plan, bundle.clone(), to, &NoProgress).await;
    let directory = tempfile::tempdir().unwrap();
    let written = write(&plan, bundle, directory.path(), &WriteOptions::default()).await;
    for error in [streamed.unwrap_err(), written_into.unwrap_err(), written.unwrap_err()] {
        assert!(error.to_string().contains("does not have the bytes of gpu.yaml"), "{error}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bundle_supports_concurrent_reads() {
    let (storage, references) = sample::store(&[vec![random_bytes(1, 1000)]]).await;
    let mut contents = sample::product(Vec::new(), false);
    contents.files = vec![
        FileEntry::new("a.yaml", vec![b'a'; 1000]),
        FileEntry::new("between", vec![b'x'; 200_000]),
        FileEntry::new("b.yaml", vec![b'b'; 1000]),
    ];
    let reference: &Reference = &references[0];
    let from = ImageRef::from(reference);
    let platforms = Platforms::One(sample::platform());
    let source = Arc::new(storage);
    let image = ArchiveImage::resolve(source.clone(), &from, reference.clone(), &platforms).await;
    contents.images = vec![image.unwrap()];
    let plan = Arc::new(BundlePlan::new(&contents).unwrap());
    let chunks: Vec<Bytes> = stream(plan, source).try_collect().await.unwrap();
    let bundle = Bundle::read(in_memory(chunks.concat().into())).await.unwrap();
    let readers = (0..4).map(|reader| {
        let bundle = bundle.clone();
        let (path, byte) = if reader % 2 == 0 { ("a.yaml", b'a') } else { ("b.yaml", b'b') };
        tokio::spawn(async move {
            for _ in 0..2000 {
                assert!(bundle.file(path).await.unwrap().iter().all(|one| *one == byte));
            }
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn write_keeps_existing_part_file() {
    let (storage, references) = sample::store(&[vec![random_bytes(1, 1000)]]).await;
    let plan = sample::plan(&storage, &references, BundleKind::Plugin, false).await;
    let (source, options) = (Arc::new(storage), WriteOptions::default());
    let directory = tempfile::tempdir().unwrap();
    let beside = |end: &str| directory.path().join(format!("{}{end}", plan.file_name()));
    std::fs::write(beside(".part"), "mine").unwrap();
    let refused = write(&plan, source.clone(), directory.path(), &options).await;
    assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{refused:?}");
    assert_eq!(std::fs::read(beside(".part")).unwrap(), b"mine");

    std::fs::remove_file(beside(".part")).unwrap();
    std::fs::write(beside(".sha256.part"), "mine").unwrap();
    write(&plan, source.clone(), directory.path(), &options).await.unwrap();
    assert_eq!(std::fs::read(beside(".sha256.part")).unwrap(), b"mine");
    let store = tempfile::tempdir().unwrap();
    let published = store.path().join(store_path(plan.document()).unwrap());
    let part = published.with_file_name(format!("{}.part", plan.file_name()));
    std::fs::create_dir_all(part.parent().unwrap()).unwrap();
    std::fs::write(&part, "mine").unwrap();
    let options_of_store = PublishOptions::default();
    let refused = DirectoryStore::new(store.path());
    let refused = refused.publish(&beside(""), plan.document(), &options_of_store).await;
    assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{refused:?}");
    assert_eq!(std::fs::read(&part).unwrap(), b"mine");

    let elsewhere = directory.path().join("elsewhere");
    std::fs::write(&elsewhere, "mine").unwrap();
    symlink(&elsewhere, beside(".part.journal")).unwrap();
    write(&plan, source, directory.path(), &options).await.unwrap_err();
    assert_eq!(std::fs::read(&elsewhere).unwrap(), b"mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn write_dropped_is_resumed() {
    let (storage, references) = sample::store(&[vec![random_bytes(1, 8 << 20)]]).await;
    let plan = sample::plan(&storage, &references, BundleKind::Plugin, false).await;
    let counting = Arc::new(Counting::new(storage));
    counting.limit.store(3 << 20, Ordering::Relaxed);
    let (directory, options) = (tempfile::tempdir().unwrap(), WriteOptions::default());
    let source = Arc::new(Shared(Arc::clone(&counting)));
    let first = write(&plan, source.clone(), directory.path(), &options);
    tokio::time::timeout(Duration::from_millis(500), first).await.unwrap_err();
    counting.limit.store(u64::MAX, Ordering::Relaxed);
    write(&plan, source, directory.path(), &options).await.unwrap();
}

#[tokio::test]
async fn image_without_tag_is_latest() {
    let (storage, tagged) = sample::store(&[vec![random_bytes(1, 1000)]]).await;
    let reference: Reference = "h.example/release/app-0".parse().unwrap();
    let from = ImageRef::from(&tagged[0]);
    let platforms = Platforms::One(sample::platform());
    let source = Arc::new(storage);
    let image = ArchiveImage::resolve(source.clone(), &from, reference.clone(), &platforms).await;
    let plan = Arc::new(BundlePlan::new(&sample::product(vec![image.unwrap()], true)).unwrap());
    let chunks: Vec<Bytes> = stream(plan, source).try_collect().await.unwrap();
    let bytes: Bytes = chunks.concat().into();
    let docker = br#""RepoTags":["h.example/release/app-0:latest"]"#;
    assert!(
        bytes.windows(docker.len()).any(|window| window == docker),
        "docker load uses this tag"
    );

    let bundle = Bundle::read(in_memory(bytes.clone())).await.unwrap();
    let package = ForeignPackage::read(in_memory(bytes)).await.unwrap();
    let (of_bundle, of_package) = (MemoryStorage::default(), MemoryStorage::default());
    let options = CopyOptions::default();
    let installed = install(&bundle.clone().into(), Arc::new(of_bundle.clone()), &site(), &options)
        .await
        .unwrap();
    install(&package.clone().into(), Arc::new(of_package.clone()), &site(), &options)
        .await
        .unwrap();
    assert_eq!(installed[0].reference.to_string(), "site.example/all/app-0:latest");
    for site in [of_bundle, of_package] {
        let repository = "all/app-0".parse().unwrap();
        let tags = site.tags(&repository).await.unwrap();
        assert_eq!(tags.unwrap(), ["latest".parse().unwrap()]);
    }
}

#[tokio::test]
async fn manifest_by_ambiguous_tag_is_error() {
    let (storage, references) =
        sample::store(&[vec![random_bytes(1, 100)], vec![random_bytes(2, 100)]]).await;
    let source = Arc::new(storage);
    let (mut images, platforms) = (Vec::new(), Platforms::One(sample::platform()));
    for (host, own) in ["h.example", "g.example"].iter().zip(&references) {
        let reference: Reference = format!("{host}/release/web:v1").parse().unwrap();
        let from = ImageRef::from(own);
        let image = ArchiveImage::resolve(source.clone(), &from, reference, &platforms).await;
        images.push(image.unwrap());
    }
    let plan = Arc::new(BundlePlan::new(&sample::product(images, false)).unwrap());
    let chunks: Vec<Bytes> = stream(plan, source).try_collect().await.unwrap();
    let bundle = Bundle::read(in_memory(chunks.concat().into())).await.unwrap();
    for image in bundle.images() {
        let (repository, digest) = (image.reference.repository(), image.root.digest());
        let by_tag =
            bundle.manifest(repository, &image.reference.tag_or_digest()).await.unwrap_err();
        assert!(by_tag.to_string().contains("select one by its digest"), "{by_tag}");
        let by_digest = bundle.manifest(repository, &digest.into()).await.unwrap();
        assert_eq!(by_digest.digest(), digest);
    }
}

#[tokio::test(start_paused = true)]
async fn install_unreachable_source_is_not_damage() {
    let source = in_memory(bundle_of(300_000).await);
    let bundle = Bundle::read(source.clone()).await.unwrap();
    source.left.store(0, Ordering::Relaxed);
    let (storage, site, options) = (MemoryStorage::default(), site(), CopyOptions::default());
    let error = install(&bundle.clone().into(), Arc::new(storage.clone()), &site, &options)
        .await
        .unwrap_err();
    let mut causes = vec![error.to_string()];
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    let said = causes.join(", ");
    assert!(said.contains("cannot read https://far/away, connection reset"), "{said}");
    assert!(!said.contains("not readable"), "{said}");
}

#[derive(Default)]
struct Counted(AtomicU64, AtomicU64);

impl Progress for Counted {
    fn add_total(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64) {
        self.1.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn install_package_reports_progress_once() {
    let package = ForeignPackage::read(in_memory(bundle_of(300_000).await)).await.unwrap();
    let (progress, storage) = (Arc::new(Counted::default()), MemoryStorage::default());
    let options = CopyOptions::default().progress(progress.clone());
    let installed = install(&package.clone().into(), Arc::new(storage.clone()), &site(), &options)
        .await
        .unwrap();
    let bytes = installed[0].copied.bytes;
    let shown = (progress.0.load(Ordering::Relaxed), progress.1.load(Ordering::Relaxed));
    assert_eq!(shown, (bytes, bytes));
}

#[tokio::test]
async fn install_rearchived_product_names_the_cause() {
    let (storage, references) = sample::store(&[vec![random_bytes(1, 1000)]]).await;
    let plan = sample::plan(&storage, &references, BundleKind::Product, false).await;
    let chunks: Vec<Bytes> = stream(Arc::new(plan), Arc::new(storage)).try_collect().await.unwrap();
    let mut tar = Vec::new();
    flate2::read::MultiGzDecoder::new(&chunks.concat()[..]).read_to_end(&mut tar).unwrap();
    let package = ForeignPackage::read(in_memory(tar.into())).await.unwrap();
    let storage = MemoryStorage::default();
    let error = install(
        &package.clone().into(),
        Arc::new(storage.clone()),
        &site(),
        &CopyOptions::default(),
    )
    .await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("take the bundle as it was published"), "{error}");
}

#[test]
fn invalid_sizes_and_names_are_rejected() {
    let mut file = FileEntry::new("x", "0123456789");
    file.size = u64::MAX;
    let mut large = sample::product(Vec::new(), false);
    large.files = vec![file.clone()];
    large.files[0].bytes = None;
    assert!(BundlePlan::new(&large).unwrap_err().to_string().contains("pebibyte"));
    let mut other = sample::product(Vec::new(), false);
    other.files = vec![file];
    assert!(
        BundlePlan::new(&other).unwrap_err().to_string().contains("does not match its content")
    );

    let document = |name: &str, version: &str| BundleDocument {
        format_version: 1,
        kind: BundleKind::Plugin,
        name: name.to_owned(),
        version: version.to_owned(),
        base_version: None,
        platforms: Vec::new(),
        commit: None,
        modified: 0,
        files: Vec::new(),
        store: None,
    };
    store_path(&document("gpu", "v1.0.0")).unwrap();
    store_path(&document("/etc/gpu", "v1.0.0")).unwrap_err();
    store_path(&document("gpu", "../../v1.0.0")).unwrap_err();
}

/// Blocks the first report until the test continues, and counts the reports after that.
struct Blocking {
    started: std::sync::mpsc::SyncSender<()>,
    resume: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
    later: AtomicU64,
}

impl Progress for Blocking {
    fn add_total(&self, _: u64) {}

    fn advance(&self, _: u64) {
        if self.started.try_send(()).is_ok() {
            let _ = self.resume.lock().unwrap().recv();
        } else {
            self.later.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_dropped_stops_reading() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bundle_of(16 << 20).await).unwrap();
    let bundle = Bundle::open(file.path()).await.unwrap();
    // The channel takes one message, which is never received: only the first report blocks.
    let (started, first) = std::sync::mpsc::sync_channel(1);
    let (resume, resumed) = std::sync::mpsc::channel();
    let later = AtomicU64::new(0);
    let progress = Arc::new(Blocking { started, resume: resumed.into(), later });
    let options = VerifyOptions::default().progress(progress.clone());
    let verifying = tokio::spawn(async move { bundle.verify(&options).await });
    while progress.later.load(Ordering::Relaxed) == 0 && first.try_recv().is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    verifying.abort();
    assert!(verifying.await.unwrap_err().is_cancelled());
    resume.send(()).unwrap();
    while Arc::strong_count(&progress) > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(progress.later.load(Ordering::Relaxed), 0, "the file is not read further");
}

/// Not called: it compiles only if the futures are `Send`.
#[expect(dead_code)]
fn all_can_be_spawned(bundle: &Bundle, package: &Package, sink: Arc<dyn ImageSink>) {
    fn is_sent(_: impl Send) {}
    let (options, place) = (CopyOptions::default(), site());
    is_sent(install(package, sink.clone(), &place, &options));
    is_sent(copy_image(&package.images()[0], sink, &options));
    is_sent(bundle.verify(&VerifyOptions::default()));
    let source: Arc<dyn ImageSource> = Arc::new(bundle.clone());
    is_sent(write(bundle.plan(), source, Path::new(""), &WriteOptions::default()));
}
