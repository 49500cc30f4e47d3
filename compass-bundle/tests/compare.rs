//! Comparison of bundles: which images are paired.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sample;

use std::sync::Arc;

use bytes::Bytes;
use compass_bundle::{
    ArchiveImage, Bundle, BundleContents, BundlePlan, Comparison, LocalFile, Package, Platforms,
    compare, compare_with_plan, stream,
};
use compass_registry::testing::random_bytes;
use compass_registry::{ImageRef, ImageSource, Reference};
use futures_util::TryStreamExt as _;

/// A planned product, and the source of its images.
struct Planned {
    plan: Arc<BundlePlan>,
    contents: BundleContents,
    source: Arc<dyn ImageSource>,
}

/// A planned product with these images. The number of each image determines its content.
async fn planned(images: &[(&str, u64)]) -> Planned {
    let layers: Vec<_> = images.iter().map(|(_, seed)| vec![random_bytes(*seed, 500)]).collect();
    let (storage, stored) = sample::store(&layers).await;
    let mut gathered = Vec::new();
    for ((name, _), own) in images.iter().zip(&stored) {
        let reference: Reference = format!("h.example/release/{name}").parse().unwrap();
        let from = ImageRef::from(own);
        let platforms = Platforms::One(sample::platform());
        let source = Arc::new(storage.clone());
        gathered.push(ArchiveImage::resolve(source, &from, reference, &platforms).await.unwrap());
    }
    let contents = sample::product(gathered, false);
    let plan = Arc::new(BundlePlan::new(&contents).unwrap());
    Planned { plan, contents, source: Arc::new(storage) }
}

/// A product with these images.
async fn product(images: &[(&str, u64)]) -> (tempfile::TempDir, Package) {
    let Planned { plan, source, .. } = planned(images).await;
    let chunks: Vec<Bytes> = stream(plan, source).try_collect().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bundle");
    std::fs::write(&path, chunks.concat()).unwrap();
    let bundle = Bundle::read(Arc::new(LocalFile::open(&path).unwrap())).await.unwrap();
    (directory, Package::Bundle(bundle))
}

/// The number of unchanged images, and a description of each change.
async fn compared(old: &[(&str, u64)], new: &[(&str, u64)]) -> (usize, Vec<String>) {
    let (one, other) = (product(old).await, product(new).await);
    let Comparison { unchanged_images, images, .. } = compare(&one.1, &other.1).await.unwrap();
    let tag = |side: Option<compass_bundle::ImageSide>| {
        side.map_or("-".to_owned(), |side| side.reference.rsplit_once(':').unwrap().1.to_owned())
    };
    let changes = images.into_iter();
    let changes = changes.map(|one| format!("{} {} {}", one.name, tag(one.old), tag(one.new)));
    (unchanged_images, changes.collect())
}

#[tokio::test]
async fn compare_pairs_images_by_reference() {
    let two = [("web:v1", 1), ("web:v2", 2), ("user:v1", 3)];
    let one = [("web:v1", 1), ("user:v1", 3)];
    assert_eq!(compared(&two, &one).await, (2, vec!["release/web:v2 v2 -".to_owned()]));
    assert_eq!(compared(&one, &two).await, (2, vec!["release/web:v2 - v2".to_owned()]));
}

#[tokio::test]
async fn compare_pairs_last_tags_of_repository() {
    let (old, new) = ([("web:v1", 1), ("web:v2", 2)], [("web:v3", 4)]);
    let expected = ["release/web:v1 v1 -", "release/web:v3 v2 v3"].map(str::to_owned);
    assert_eq!(compared(&old, &new).await, (0, expected.to_vec()));
    let alone = compared(&[("web:v1", 1)], &[("web:v2", 2)]).await;
    assert_eq!(alone, (0, vec!["release/web v1 v2".to_owned()]));
    let pushed_anew = compared(&[("web:v1", 1)], &[("web:v1", 2)]).await;
    assert_eq!(pushed_anew, (0, vec!["release/web v1 v1".to_owned()]));
}

#[tokio::test]
async fn compare_plan_equals_written_bundle() {
    let (old, new) = ([("web:v1", 1), ("user:v1", 3)], [("web:v2", 2), ("user:v1", 3)]);
    let (old, written) = (product(&old).await, product(&new).await);
    let Planned { plan, contents, source } = planned(&new).await;
    let with_plan = compare_with_plan(Some(&old.1), &plan, &contents, Arc::clone(&source)).await;
    let with_plan = with_plan.unwrap();
    assert_eq!(with_plan, compare(&old.1, &written.1).await.unwrap());
    assert_eq!((with_plan.images.len(), with_plan.unchanged_images), (1, 1));
    let first = compare_with_plan(None, &plan, &contents, source).await.unwrap();
    assert_eq!((first.images.len(), first.sizes, first.shared_bytes), (2, (0, plan.size()), 0));
}
