//! Verification of files that cannot be opened.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sample;

use std::sync::Arc;

use compass_bundle::document::BundleKind;
use compass_bundle::{
    BundleSource, LocalFile, Package, VerifyOptions, WriteOptions, verify_unreadable, write,
};
use compass_registry::Digest;
use compass_registry::testing::random_bytes;

#[tokio::test]
async fn verify_unreadable_range_contains_damage() {
    let layer = random_bytes(1, 200_000);
    let (storage, references) =
        sample::store(&[vec![layer.clone()], vec![random_bytes(2, 1000)]]).await;
    let plan = sample::plan(&storage, &references, BundleKind::Product, true).await;
    let (directory, options) = (tempfile::tempdir().unwrap(), WriteOptions::default());
    let written = write(&plan, Arc::new(storage), directory.path(), &options).await.unwrap();
    let good = std::fs::read(&written.path).unwrap();
    let first_layer = good.windows(64).position(|bytes| bytes == &layer[..64]).unwrap();
    for at in (0..100).chain((100..first_layer).step_by(61)) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&written.path, &bad).unwrap();
        let file: Arc<dyn BundleSource> = Arc::new(LocalFile::open(&written.path).unwrap());
        let options = VerifyOptions::default();
        let (range, digest) = match Package::read(Arc::clone(&file)).await {
            Ok(package) => {
                let verified = package.verify(&options).await.unwrap();
                assert!(!verified.is_ok(), "byte {at}");
                let mut damages = verified.damages.iter().map(|damage| damage.range.clone());
                (damages.find(|range| range.contains(&(at as u64))).unwrap(), verified.digest)
            }
            Err(error) => {
                let verified = verify_unreadable(file, &error, &options).await.unwrap();
                let verified = verified.unwrap_or_else(|| panic!("byte {at}: {error:?}"));
                assert_eq!(verified.checksum, Some(false));
                (verified.damages[0].range.clone(), verified.digest)
            }
        };
        assert!(range.contains(&(at as u64)), "byte {at} is not in {range:?}");
        assert_eq!(digest.unwrap_or_else(|| Digest::of(&bad)), Digest::of(&bad));
    }
}
