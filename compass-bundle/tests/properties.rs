//! For any images, number of jobs and chunk size, bundles have the same bytes and can be read
//! again.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sample;

use std::sync::Arc;

use compass_bundle::document::BundleKind;
use compass_bundle::{Bundle, BundlePlan, VerifyOptions, WriteOptions, stream, write};
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::random_bytes;
use compass_registry::{Digest, ImageSource, ImageSourceExt as _, Manifest};
use futures_util::StreamExt as _;
use proptest::prelude::*;
use sample::{Counting, Shared};

/// Layers with sizes around block boundaries. Equal seeds give equal layers.
fn layer() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![
        0_usize..3,
        500_usize..600,
        65_530_usize..65_540,
        131_060_usize..131_080,
        1_usize..400_000,
    ];
    (0_u64..6, size).prop_map(|(seed, size)| random_bytes(seed, size))
}

fn images() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    proptest::collection::vec(proptest::collection::vec(layer(), 0..4), 1..4)
}

fn kind() -> impl Strategy<Value = (BundleKind, bool)> {
    prop_oneof![
        Just((BundleKind::Plugin, false)),
        Just((BundleKind::Hotfix, false)),
        Just((BundleKind::Product, false)),
        Just((BundleKind::Product, true)),
    ]
}

async fn streamed(plan: &BundlePlan, source: MemoryStorage) -> Vec<u8> {
    let mut chunks = Box::pin(stream(Arc::new(plan.clone()), Arc::new(source)));
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    bytes
}

fn contains(file: &[u8], bytes: &[u8]) -> bool {
    file.windows(bytes.len()).any(|window| window == bytes)
}

async fn round_trip(
    images: Vec<Vec<Vec<u8>>>,
    kind: (BundleKind, bool),
    jobs: usize,
    chunk: usize,
) {
    let (storage, references) = sample::store(&images).await;
    let plan = sample::plan(&storage, &references, kind.0, kind.1).await;
    let expected = streamed(&plan, storage.clone()).await;
    assert_eq!(expected.len() as u64, plan.size());

    let directory = tempfile::tempdir().unwrap();
    let counting = Counting { chunk, ..Counting::new(storage.clone()) };
    let source = Arc::new(Shared(Arc::new(counting)));
    let options = WriteOptions::default().jobs(jobs);
    let written = write(&plan, source, directory.path(), &options).await.unwrap();
    assert!(std::fs::read(&written.path).unwrap() == expected, "the bytes differ");
    assert_eq!(written.digest, Digest::of(&expected));

    let bundle = Bundle::open(&written.path).await.unwrap();
    assert_eq!(bundle.document(), plan.document());
    for reference in &references {
        let (name, locator) = (reference.repository(), reference.tag_or_digest());
        let manifest = bundle.manifest(name, &locator).await.unwrap();
        assert_eq!(manifest, ImageSource::manifest(&storage, name, &locator).await.unwrap());
        let Manifest::Image { config, layers } = manifest.parse().unwrap() else { panic!() };
        for blob in std::iter::once(config).chain(layers) {
            let (there, here) =
                (bundle.read(name, &blob).await.unwrap(), storage.read(name, &blob).await.unwrap());
            assert!(there == here, "a blob differs");
        }
    }
    let verified = bundle.verify(&VerifyOptions::default()).await.unwrap();
    assert!(verified.is_ok(), "{:?}", verified.damages);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn shared_blob_has_same_bytes(
        shared in layer(), before in images(), after in images(), kinds in (kind(), kind()),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let once = sample::gzip_member(&shared);
            let twice = sample::gzip_member(&once);
            for (others, kind) in [(before, kinds.0), (after, kinds.1)] {
                let mut images = others;
                images[0].push(shared.clone());
                let (storage, references) = sample::store(&images).await;
                let plan = sample::plan(&storage, &references, kind.0, kind.1).await;
                let bundle = streamed(&plan, storage).await;
                let has_store = matches!(kind.0, BundleKind::Product);
                assert!(!has_store || contains(&bundle, &once), "not in the store");
                assert!(has_store && !kind.1 || contains(&bundle, &twice), "not in an archive");
            }
        });
    }

    #[test]
    fn bundle_any_write_order_reads_back(
        images in images(), kind in kind(), jobs in 1_usize..9, chunk in 1_000_usize..200_000,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2).enable_time().build().unwrap();
        runtime.block_on(round_trip(images, kind, jobs, chunk));
    }

    #[test]
    fn flipped_bit_is_located(
        images in images(), kind in kind(), places in proptest::collection::vec((0.0_f64..1.0, 0_u8..8), 12),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (storage, references) = sample::store(&images).await;
            let plan = sample::plan(&storage, &references, kind.0, kind.1).await;
            let good = streamed(&plan, storage).await;
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("damaged.tar.gz");
            for (place, bit) in places {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
                let at = ((good.len() as f64 * place) as usize).min(good.len() - 1);
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                std::fs::write(&path, &bad).unwrap();
                // Opening may reject the file. If it opens, verification must locate the damage.
                let Ok(bundle) = Bundle::open(&path).await else { continue };
                let verified = bundle.verify(&VerifyOptions::default()).await.unwrap();
                assert!(!verified.is_ok(), "byte {at}");
                let at = at as u64;
                assert!(
                    verified.damages.iter().any(|damage| damage.range.contains(&at)),
                    "byte {at} is not in {:?}", verified.damages
                );
            }
        });
    }
}
