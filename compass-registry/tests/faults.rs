//! Copies through faulty registries: either the right bytes arrive, or the copy fails with an
//! error. No copy hangs, and no tag points at an incomplete image.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use compass_registry::client::{Client, ClientOptions};
use compass_registry::storage::{MemoryStorage, Storage};
use compass_registry::testing::{Fault, FaultyRegistry, SampleImage, Script, read_image};
use compass_registry::{
    Copier, CopyOptions, CopyReport, Destination, Error, ImageRef, RangeOptions, Repository,
    RetryPolicy, Tag,
};
use futures_util::{StreamExt as _, stream};

const PART: u64 = 16 << 10;
const LAYERS: [usize; 2] = [150_000, 9_000];

fn name() -> Repository {
    "release/web".parse().unwrap()
}

fn tag() -> Tag {
    "v1".parse().unwrap()
}

fn client(registry: &FaultyRegistry) -> Client {
    let retry = RetryPolicy::default()
        .max_attempts(5)
        .initial_backoff(Duration::from_millis(1))
        .max_retry_after(Duration::from_millis(50))
        .idle_timeout(Duration::from_millis(1500))
        .commit_timeout(Duration::from_secs(2));
    let options = ClientOptions::default()
        .credentials(FaultyRegistry::credentials())
        .retry(retry)
        .range_options(RangeOptions::new(PART, 6).sequential_above(u64::MAX));
    Client::new(&registry.host(), options).unwrap()
}

/// A copy from one registry to another.
#[derive(Debug)]
struct Run {
    result: Result<CopyReport, Error>,
    image: SampleImage,
    source: FaultyRegistry,
    destination: MemoryStorage,
    /// The numbers of requests to the source and to the destination.
    requests: (usize, usize),
}

impl Run {
    async fn new(read: Script, write: Script) -> Self {
        let (storage, destination) = (MemoryStorage::default(), MemoryStorage::default());
        let image = SampleImage::new(7, &LAYERS);
        image.store(&storage, &name(), &tag()).await.unwrap();
        let source = FaultyRegistry::start(storage, read).await.unwrap();
        let sink = FaultyRegistry::start(destination.clone(), write).await.unwrap();
        let (reader, writer) = (Arc::new(client(&source)), client(&sink));
        let options = CopyOptions::default().jobs(2);
        let copier = Copier::new(Arc::new(writer), options);
        let (from, to) = (ImageRef::new(name(), tag()), Destination::new(name(), tag()));
        let copied = copier.copy(reader, &from, &to);
        let result = tokio::time::timeout(Duration::from_mins(1), copied).await;
        let result = result.expect("it hangs");
        let requests = (source.requests(), sink.requests());
        Self { result, image, source, destination, requests }
    }

    /// Checks that the image under the tag is complete, and is the copied one if the copy
    /// succeeded.
    async fn assert_sound(&self, what: &str) {
        let tagged = Storage::manifest(&self.destination, &name(), &tag().into()).await.unwrap();
        match (&self.result, &tagged) {
            (Ok(copied), Some(manifest)) => assert_eq!(copied.digest, manifest.digest(), "{what}"),
            (Ok(_), None) => panic!("{what}: the copy succeeded, but the tag does not exist"),
            (Err(error), _) => assert!(error.to_string().len() > 10, "{what}: {error}"),
        }
        if let Some(manifest) = tagged {
            assert_eq!(manifest, self.image.manifest, "{what}");
            let destination = Arc::new(self.destination.clone());
            read_image(destination, &ImageRef::new(name(), tag())).await.expect(what);
        }
    }
}

fn every_fault() -> Vec<Fault> {
    let mut faults = vec![
        Fault::Status(500),
        Fault::Status(502),
        Fault::TooMany(None),
        Fault::TooMany(Some(0)),
        Fault::Unauthorized,
        Fault::ExpiredTokens,
        Fault::WrongLength(9),
        Fault::WrongLength(-9),
        Fault::WrongByte(0),
        Fault::WrongByte(5000),
        Fault::Redirect,
        Fault::LostUploads,
        Fault::IgnoredRange,
    ];
    for bytes in [0, 1, 7000, 100_000] {
        faults.extend([Fault::Cut(bytes), Fault::Reset(bytes), Fault::Stall(bytes)]);
    }
    faults
}

/// Tries each fault at each request of one side. At most `most` bytes may leave the source.
async fn at_every_request(
    script: impl Fn(usize, Fault) -> (Script, Script),
    most: impl Fn(Fault, &Run) -> u64,
) {
    let clean = Run::new(Script::default(), Script::default()).await;
    assert_eq!(clean.result.as_ref().unwrap().bytes, clean.image.bytes());
    let requests = clean.requests.0.max(clean.requests.1);
    let cases = (0..requests).flat_map(|n| every_fault().into_iter().map(move |fault| (n, fault)));
    let runs = cases.map(|(request, fault)| {
        let (read, write) = script(request, fault);
        async move {
            let what = format!("{fault:?} at request {request}");
            let run = Run::new(read, write).await;
            run.assert_sound(&what).await;
            if fault.is_recoverable() {
                assert!(run.result.is_ok(), "{what}: {:?}", run.result);
            }
            (fault, run)
        }
    });
    let mut runs = stream::iter(runs).buffer_unordered(16);
    while let Some((fault, run)) = runs.next().await {
        assert!(run.result.is_err() || run.source.blob_bytes() <= most(fault, &run), "{run:?}");
    }
}

#[tokio::test]
async fn pull_with_one_fault_is_correct() {
    let script = |request, fault| (Script::once(request, fault), Script::default());
    let most = |fault, run: &Run| match fault {
        // The registry sends whole blobs, and the client drops the bytes that it did not request.
        Fault::IgnoredRange => 3 * run.image.bytes(),
        _ => run.image.bytes() + PART,
    };
    at_every_request(script, most).await;
}

#[tokio::test]
async fn push_with_one_fault_is_correct() {
    let script = |request, fault| (Script::default(), Script::once(request, fault));
    // Bytes in flight when the upload broke are read again.
    at_every_request(script, |_, run| 2 * run.image.bytes()).await;
}

/// Runs a thousand scripts. `COMPASS_SEED` sets the first seed, and a failure prints its seed.
#[tokio::test]
async fn copy_with_random_faults_is_correct() {
    let first: u64 = std::env::var("COMPASS_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("seeds {first} to {}", first + 999);
    let runs = (first..first + 1000).map(|seed| async move {
        let body = LAYERS[0] as u64;
        let read = Script::random(seed, 20, body / 8);
        let write = Script::random(seed.wrapping_mul(31), 16, body);
        let run = Run::new(read.clone(), write.clone()).await;
        let what = format!("seed {seed}: {read:?} {write:?}");
        run.assert_sound(&what).await;
        let passes = |script: &Script| script.0.iter().all(|(_, fault)| fault.is_recoverable());
        if passes(&read) && passes(&write) {
            assert!(run.result.is_ok(), "{what}: {:?}", run.result);
        }
    });
    stream::iter(runs).buffer_unordered(16).for_each(|()| std::future::ready(())).await;
}
