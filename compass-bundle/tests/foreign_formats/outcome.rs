//! The result of opening, installing and unpacking a package.

use std::sync::Arc;

use compass_bundle::{ForeignPackage, LocalFile, Package, install};
use compass_registry::storage::MemoryStorage;
use compass_registry::{CopyOptions, NoProgress};

/// The content of a package.
pub(crate) struct Outcome {
    pub(crate) package: ForeignPackage,
    pub(crate) problems: Vec<String>,
    /// The names of its images, in order.
    pub(crate) names: Vec<String>,
}

/// Opens, installs and unpacks a package, and checks that the results agree.
///
/// # Errors
/// The message, if it cannot be opened.
pub(crate) async fn evaluate(bytes: &[u8]) -> Result<Outcome, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("package");
    std::fs::write(&path, bytes).unwrap();
    let source = Arc::new(LocalFile::open(&path).unwrap());
    let package = Package::read(source).await.map_err(|error| error.to_string())?;
    let Package::Foreign(package) = package else { return Err("it is a bundle".to_owned()) };
    let found = package.problems();
    let problems: Vec<_> = found
        .iter()
        .map(|one| [one.file.clone().unwrap_or_default(), one.what.clone()].join(": "))
        .collect();
    let (site, place) = (MemoryStorage::default(), "site.example".parse().unwrap());
    let installed =
        install(&package.clone().into(), Arc::new(site.clone()), &place, &CopyOptions::default())
            .await;
    let has_images = !package.images().is_empty();
    assert_eq!(installed.is_ok(), problems.is_empty() && has_images, "{installed:?}: {problems:?}");
    let opened = Package::from(package.clone());
    let unpacked = opened.unpack(&directory.path().join("target"), &NoProgress).await;
    assert_eq!(unpacked.is_ok(), problems.is_empty(), "{unpacked:?}: {problems:?}");
    let names = package.images().iter().map(|image| image.reference.to_string()).collect();
    Ok(Outcome { package, problems, names })
}

/// Checks that a package has exactly these images and no problem, or a problem that contains this
/// text.
pub(crate) async fn assert_outcome(what: &str, bytes: &[u8], expected: Result<&[&str], &str>) {
    match (evaluate(bytes).await, expected) {
        (Ok(outcome), Ok(names)) => {
            assert_eq!(outcome.problems, [""; 0], "{what}");
            assert_eq!(outcome.names, names, "{what}");
        }
        (Ok(outcome), Err(reason)) => {
            let told = outcome.problems.iter().any(|problem| problem.contains(reason));
            assert!(told, "{what}: {:?}, {:?}", outcome.names, outcome.problems);
        }
        (Err(told), Ok(_)) => panic!("{what}: {told}"),
        (Err(told), Err(reason)) => assert!(told.contains(reason), "{what}: {told}"),
    }
}
