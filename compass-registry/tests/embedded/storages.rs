//! Blobs in storages, and cleanup.

use compass_registry::storage::{DiskStorage, Storage as _};
use compass_registry::{Digest, Repository};
use reqwest::StatusCode;

use super::manifests::empty_image;
use super::{Registry, everywhere};

#[tokio::test]
async fn blob_belongs_to_its_repositories_only() {
    everywhere(async |registry| {
        let digest = registry.push_blob("a/one", b"{}").await;
        let status = async |name: &str| {
            registry.ask("HEAD", &format!("/v2/{name}/blobs/{digest}"), b"").await.status()
        };
        assert_eq!(
            (status("a/one").await, status("b/two").await),
            (StatusCode::OK, StatusCode::NOT_FOUND)
        );
        let mount = format!("/v2/b/two/blobs/uploads/?mount={digest}&from=a/one");
        assert_eq!(registry.ask("POST", &mount, b"").await.status(), StatusCode::CREATED);
        assert_eq!(status("b/two").await, StatusCode::OK);
        let one = format!("/v2/a/one/blobs/{digest}");
        assert_eq!(registry.ask("DELETE", &one, b"").await.status(), StatusCode::ACCEPTED);
        assert_eq!(registry.ask("DELETE", &one, b"").await.status(), StatusCode::NOT_FOUND);
        assert_eq!(
            (status("a/one").await, status("b/two").await),
            (StatusCode::NOT_FOUND, StatusCode::OK)
        );
    })
    .await;
}

#[tokio::test]
async fn get_racing_delete_is_200_or_404() {
    everywhere(async |registry| {
        let blob = format!("/v2/a/one/blobs/{}", Digest::of(b"raced"));
        let reads = async {
            for _ in 0..300 {
                let status = registry.ask("GET", &blob, b"").await.status();
                assert!(matches!(status, StatusCode::OK | StatusCode::NOT_FOUND), "{status}");
            }
        };
        let writes = async {
            for _ in 0..100 {
                registry.push_blob("a/one", b"raced").await;
                registry.ask("DELETE", &blob, b"").await;
            }
        };
        tokio::join!(reads, writes);
    })
    .await;
}

#[tokio::test]
async fn open_removes_leftovers_of_killed_processes() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::serving(DiskStorage::new(directory.path())).await;
    let text = empty_image(&registry, "").await;
    assert_eq!(registry.push_manifest("a/one", "v1", &text).await.status(), StatusCode::CREATED);
    drop(registry);
    let one = directory.path().join("repositories/a/one");
    let leftovers = [
        directory.path().join(".part-a1"),
        directory.path().join("uploads/.upload-b2"),
        one.join("_tags/.part-c3"),
        one.join("_blobs/.part-d4"),
    ];
    for leftover in &leftovers {
        std::fs::write(leftover, "half").unwrap();
    }
    let storage = DiskStorage::open_exclusive(directory.path()).await.unwrap();
    for leftover in &leftovers {
        assert!(!leftover.exists(), "{}", leftover.display());
    }
    let registry = Registry::serving(storage).await;
    let tag = registry.ask("GET", "/v2/a/one/manifests/v1", b"").await;
    assert_eq!(tag.text().await.unwrap(), text);
}

#[tokio::test]
async fn leftovers_are_removed_by_next_server() {
    let directory = tempfile::tempdir().unwrap();
    let storage = DiskStorage::new(directory.path());
    let name: Repository = "a/one".parse().unwrap();
    let mut abandoned = storage.begin_upload(&name).await.unwrap();
    abandoned.append("half".into()).await.unwrap();
    // A killed process does not remove its uploads.
    std::mem::forget(abandoned);
    let mut used = storage.begin_upload(&name).await.unwrap();
    used.append("used".into()).await.unwrap();
    used.commit(&Digest::of(b"used")).await.unwrap();
    let unused = directory.path().join("blobs/sha256").join(Digest::of(b"unused").hex());
    std::fs::write(&unused, "unused").unwrap();

    let alone = DiskStorage::open_exclusive(directory.path()).await.unwrap();
    assert_eq!(std::fs::read_dir(directory.path().join("uploads")).unwrap().count(), 0);
    assert!(!unused.exists());
    assert_eq!(alone.blob_size(&name, &Digest::of(b"used")).await.unwrap(), Some(4));
    let error = DiskStorage::open_exclusive(directory.path()).await.unwrap_err();
    assert!(format!("{error:?}").contains("another process is serving"), "{error:?}");
    drop(alone);
    DiskStorage::open_exclusive(directory.path()).await.unwrap();
}

#[tokio::test]
async fn directory_with_other_content_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    let blob = directory.path().join("blobs/sha256").join("a".repeat(64));
    std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
    std::fs::write(&blob, "x").unwrap();
    let marker = directory.path().join("oci-layout");
    std::fs::write(&marker, "{}").unwrap();
    let is_refused = async || {
        let error = DiskStorage::open_exclusive(directory.path()).await.unwrap_err();
        assert!(error.to_string().contains("choose an empty directory"), "{error}");
        assert!(!directory.path().join(".compass-registry").exists());
    };
    is_refused().await;
    std::fs::remove_file(&marker).unwrap();
    is_refused().await;
    std::fs::create_dir_all(directory.path().join("repositories/readme")).unwrap();
    is_refused().await;
    assert!(blob.exists());

    std::fs::remove_dir_all(directory.path().join("blobs")).unwrap();
    std::fs::remove_dir_all(directory.path().join("repositories")).unwrap();
    std::fs::write(directory.path().join("photo.jpg"), "x").unwrap();
    is_refused().await;
    std::fs::remove_file(directory.path().join("photo.jpg")).unwrap();
    std::fs::create_dir(directory.path().join("lost+found")).unwrap();
    DiskStorage::open_exclusive(directory.path()).await.unwrap();
    DiskStorage::open_exclusive(directory.path()).await.unwrap();
}
