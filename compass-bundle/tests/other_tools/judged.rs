//! What Compass says of a package.

use std::sync::Arc;

use compass_bundle::{ForeignPackage, LocalFile, Package, install_package};
use compass_registry::storage::MemoryStorage;
use compass_registry::{CopyOptions, NoProgress};

/// What a package holds, if it is whole.
pub(crate) struct Judged {
    pub(crate) package: ForeignPackage,
    pub(crate) problems: Vec<String>,
    /// What its images are named, in order.
    pub(crate) names: Vec<String>,
}

/// Reads, installs and unpacks a package, and requires that these agree.
///
/// # Errors
/// Why nothing of it can be read.
pub(crate) async fn judge(bytes: &[u8]) -> Result<Judged, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("package");
    std::fs::write(&path, bytes).unwrap();
    let source = Arc::new(LocalFile::open(&path).unwrap());
    let package = match Package::read(source).await.map_err(|error| error.to_string())? {
        Package::Foreign(package) => package,
        Package::Bundle(_) => return Err("it is a bundle".to_owned()),
    };
    let found = package.problems();
    let problems: Vec<_> = found
        .iter()
        .map(|one| [one.file.clone().unwrap_or_default(), one.what.clone()].join(": "))
        .collect();
    let (site, place) = (MemoryStorage::default(), "site.example".parse().unwrap());
    let installed = install_package(&package, &site, &place, &CopyOptions::default()).await;
    let has_images = !package.images().is_empty();
    assert_eq!(installed.is_ok(), problems.is_empty() && has_images, "{installed:?}: {problems:?}");
    let unpacked = package.unpack(&directory.path().join("target"), &NoProgress).await;
    assert_eq!(unpacked.is_ok(), problems.is_empty(), "{unpacked:?}: {problems:?}");
    let names = package.images().iter().map(|image| image.reference.to_string()).collect();
    Ok(Judged { package, problems, names })
}

/// Requires that a package has images of these names and nothing is wrong with it, or that it is refused
/// for a reason.
pub(crate) async fn assert_judged(what: &str, bytes: &[u8], expected: Result<&[&str], &str>) {
    match (judge(bytes).await, expected) {
        (Ok(judged), Ok(names)) => {
            assert_eq!(judged.problems, [""; 0], "{what}");
            assert_eq!(judged.names, names, "{what}");
        }
        (Ok(judged), Err(reason)) => {
            let told = judged.problems.iter().any(|problem| problem.contains(reason));
            assert!(told, "{what}: {:?}, {:?}", judged.names, judged.problems);
        }
        (Err(told), Ok(_)) => panic!("{what}: {told}"),
        (Err(told), Err(reason)) => assert!(told.contains(reason), "{what}: {told}"),
    }
}
