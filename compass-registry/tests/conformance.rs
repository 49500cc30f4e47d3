//! Every place keeps the contracts of a source and a sink; one that does not is found out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ops::Range;

use async_trait::async_trait;
use compass_registry::client::{Client, ClientOptions};
use compass_registry::layout::OciLayout;
use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::{DiskStorage, MemoryStorage};
use compass_registry::testing::conformance;
use compass_registry::{
    ByteStream, Descriptor, Error, ImageSource, Locator, RawManifest, Repository,
};

#[tokio::test]
async fn memory_disk_and_layout_keep_the_contracts() {
    let directory = tempfile::tempdir().unwrap();
    let memory = MemoryStorage::default();
    assert_eq!(conformance(&memory, &memory).await.unwrap(), [""; 0]);
    let disk = DiskStorage::new(directory.path().join("disk"));
    assert_eq!(conformance(&disk, &disk).await.unwrap(), [""; 0]);
    let layout = OciLayout::new(directory.path().join("layout"));
    assert_eq!(conformance(&layout, &layout).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_registry_keeps_the_contracts() {
    let storage = MemoryStorage::default();
    let server = Server::start(storage, "127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let client = Client::new(&server.host(), ClientOptions::default()).unwrap();
    assert_eq!(conformance(&client, &client).await.unwrap(), [""; 0]);
}

/// Ignores where a range begins.
struct Careless(MemoryStorage);

#[async_trait]
impl ImageSource for Careless {
    async fn manifest(
        &self,
        repository: &Repository,
        locator: &Locator,
    ) -> Result<RawManifest, Error> {
        ImageSource::manifest(&self.0, repository, locator).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        _range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        self.0.blob(repository, descriptor, 0..descriptor.size).await
    }
}

#[tokio::test]
async fn a_source_that_breaks_a_contract_is_found_out() {
    let storage = MemoryStorage::default();
    let violations = conformance(&Careless(storage.clone()), &storage).await.unwrap();
    assert!(!violations.is_empty());
    assert!(violations.iter().all(|one| one.contains("range of a blob")), "{violations:?}");
}
