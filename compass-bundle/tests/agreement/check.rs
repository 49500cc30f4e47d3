//! Invariants of every package, valid or not.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use compass_bundle::{BundleSource, Error, ForeignPackage, Package, WriteOptions, install};
use compass_registry::storage::MemoryStorage;
use compass_registry::{
    CopyOptions, Digest, ImageSource, ImageSourceExt as _, Manifest, NoProgress, RawManifest,
    Repository, TagOrDigest,
};

use super::mutation::Mutation;
use super::packages::Generated;

#[derive(Debug)]
struct Memory(Bytes);

#[async_trait]
impl BundleSource for Memory {
    fn name(&self) -> String {
        "package".to_owned()
    }

    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
        Ok(self.0.slice(start..end))
    }
}

async fn open(bytes: Vec<u8>) -> Result<ForeignPackage, String> {
    match Package::read(Arc::new(Memory(bytes.into()))).await {
        Ok(Package::Foreign(package)) => Ok(package),
        Ok(_) => panic!("it is not a bundle"),
        Err(error @ (Error::Damaged { .. } | Error::NotABundle { .. })) => Err(error.to_string()),
        Err(error) => panic!("the error does not concern the package: {error:?}"),
    }
}

/// Checks that a package is installed and unpacked exactly if it has no problems, and that it has
/// none if it was generated without a mutation.
pub(crate) async fn check(Generated { bytes, configs, mutation }: Generated) {
    let expected = (!mutation.is_some_and(Mutation::is_uncertain)).then_some(mutation.is_none());
    let package = match open(bytes).await {
        Ok(package) => package,
        Err(told) => {
            assert_ne!(expected, Some(true), "a valid package is rejected: {told}");
            return;
        }
    };
    let problems = package.problems();
    let is_whole = problems.is_empty();
    assert_eq!(is_whole, expected.unwrap_or(is_whole), "{mutation:?}: {problems:?}");

    let directory = tempfile::tempdir().unwrap();
    let opened = Package::from(package.clone());
    let unpacked = opened.unpack(&directory.path().join("target"), &NoProgress).await;
    assert_eq!(unpacked.is_ok(), is_whole, "{unpacked:?}, but {problems:?}");
    let (site, place) = (MemoryStorage::default(), "site.example".parse().unwrap());
    let installed = install(&opened, Arc::new(site.clone()), &place, &CopyOptions::default()).await;
    assert_eq!(installed.is_ok(), is_whole, "{installed:?}, but {problems:?}");
    let Ok(installed) = installed else { return };
    let mut arrived = HashSet::new();
    for (image, packed) in installed.into_iter().zip(package.images()) {
        let unavailable: Vec<_> = packed.unavailable.iter().map(|(layer, _)| *layer).collect();
        let repository = image.reference.repository();
        let root = TagOrDigest::Digest(image.copied.digest);
        let root = site.verified_manifest(repository, &root).await.unwrap();
        arrived.extend(read_all(&site, repository, (root, &unavailable)).await);
    }
    let lost: Vec<_> = configs.iter().filter(|config| !arrived.contains(config)).collect();
    assert!(lost.is_empty(), "{lost:?} were not installed, of {} images", configs.len());
    check_archives(&package, directory.path()).await;
}

/// Checks that each image can be extracted as an archive that has no problems.
async fn check_archives(package: &ForeignPackage, directory: &Path) {
    let opened = Package::from(package.clone());
    for (number, image) in package.images().iter().enumerate() {
        let path = directory.join(format!("{number}.tar.gz"));
        let written = opened.images()[number].write_archive(&path, &WriteOptions::default()).await;
        assert_eq!(written.is_ok(), image.unavailable.is_empty(), "{written:?}");
        if written.is_err() {
            // Archives without those layers cannot be loaded.
            continue;
        }
        let again = open(std::fs::read(&path).unwrap()).await.unwrap();
        assert_eq!(again.problems(), []);
        assert_eq!(again.images()[0].root.digest(), image.root.digest());
    }
}

/// Reads all blobs of an image, and returns the digests of its configurations.
async fn read_all(
    site: &MemoryStorage,
    repository: &Repository,
    (root, unavailable): (RawManifest, &[Digest]),
) -> Vec<Digest> {
    let (mut configs, mut rest) = (Vec::new(), vec![root]);
    while let Some(manifest) = rest.pop() {
        match manifest.parse().unwrap() {
            Manifest::Image { config, layers } => {
                configs.push(config.digest);
                let blobs = std::iter::once(&config).chain(&layers);
                for blob in blobs.filter(|blob| !unavailable.contains(&blob.digest)) {
                    site.read(repository, blob).await.unwrap();
                }
            }
            Manifest::Index(entries) => {
                for entry in entries {
                    let locator = TagOrDigest::Digest(entry.digest);
                    rest.push(ImageSource::manifest(site, repository, &locator).await.unwrap());
                }
            }
        }
    }
    configs
}
