//! Object storages: publishing, resuming, races and faults, with the protocols of S3 and OSS.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod copies;
#[path = "../sample/mod.rs"]
mod sample;
mod server;
mod shards;
mod signature;
mod world;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use compass_bundle::store::{ObjectFile, ObjectStore, PublishOptions, Store, StoreEnvironment};
use compass_bundle::{BundleSource as _, Error, checksum_path};
use compass_registry::Digest;
use futures_util::TryStreamExt as _;
use server::{Part, SECRET, Storage};
use signature::Scheme;
use world::World;

const SCHEMES: [Scheme; 2] = [Scheme::Aws, Scheme::Oss];

#[tokio::test(flavor = "multi_thread")]
async fn publish_in_parts_is_readable() {
    for scheme in SCHEMES {
        let world = World::new(scheme).await;
        let size = world.bytes().len() as u64;
        let published = world.publish().await.unwrap();
        assert!(!published.present && published.sent == size, "{published:?}");
        world.require_published();
        let again = world.publish().await.unwrap();
        assert!(again.present && again.sent == 0, "{again:?}");

        let file = ObjectFile::open(&published.url, &world.options()).await.unwrap();
        assert_eq!(file.size(), size);
        assert_eq!(file.read(10..5000).await.unwrap(), &world.bytes()[10..5000]);
        assert_eq!(file.checksum().await.unwrap(), Some(published.digest));
        let stream = Arc::new(file).read_stream(10..7_000_000);
        let chunks: Vec<_> = stream.try_collect().await.unwrap();
        assert!(chunks.concat() == world.bytes()[10..7_000_000], "other bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn write_in_parts_equals_file() {
    for scheme in SCHEMES {
        let world = World::new(scheme).await;
        let written = world.write().await.unwrap();
        assert_eq!(written.digest, Digest::of(&world.bytes()));
        world.require_published();
        assert!(world.write().await.unwrap().present);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_small_bundle_is_one_request() {
    for scheme in SCHEMES {
        let world = World::with_layers(scheme, &[1000]).await;
        assert!(!world.publish().await.unwrap().present);
        world.require_published();
        let requests = world.storage.state.requests.lock().unwrap().clone();
        assert!(!requests.iter().any(|one| one.starts_with("POST")), "{requests:?}");
        assert!(world.write().await.unwrap().present);
        let conflict = world.publish_file(&world.other_bundle(7).await).await;
        assert!(matches!(conflict, Err(Error::Conflict { .. })), "{conflict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_resumes_missing_parts() {
    for scheme in SCHEMES {
        let world = World::new(scheme).await;
        let stored = world.interrupt().await;
        let published = world.publish().await.unwrap();
        assert_eq!(published.sent, world.bytes().len() as u64 - stored);
        world.require_published();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn write_resumes_missing_parts() {
    for scheme in SCHEMES {
        let world = World::new(scheme).await;
        let stored = world.interrupt().await;
        let written = world.write().await.unwrap();
        assert_eq!(written.sent, world.bytes().len() as u64 - stored);
        world.require_published();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_sends_different_parts_again() {
    for scheme in SCHEMES {
        let world = World::new(scheme).await;
        let stored = world.interrupt().await;
        let changed = {
            let mut content = world.storage.state.content.lock().unwrap();
            let upload = content.uploads.values_mut().next().unwrap();
            let part = upload.parts.get_mut(&2).unwrap();
            *part = Part::new(vec![0; part.bytes.len()].into());
            part.bytes.len() as u64
        };
        let published = world.publish().await.unwrap();
        assert_eq!(published.sent, world.bytes().len() as u64 - stored + changed);
        world.require_published();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_leaves_uploads_of_other_bytes() {
    let world = World::new(Scheme::Aws).await;
    world.interrupt().await;
    let other = world.other_bundle(3).await;
    let published = world.publish_file(&other).await.unwrap();
    assert_eq!(published.sent, published.size, "no part of another bundle is used");
    // The interrupted upload cannot be completed any more.
    assert_eq!(world.storage.uploads(), 0);
    assert!(matches!(world.publish().await, Err(Error::Conflict { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_changed_part_is_sent_again() {
    for scheme in SCHEMES {
        for ignores_checksums in [false, true] {
            let world = World::new(scheme).await;
            let faults = &world.storage.state.faults;
            faults.ignores_checksums.store(ignores_checksums, Ordering::Relaxed);
            faults.changed.store(2, Ordering::Relaxed);
            world.publish().await.unwrap();
            world.require_published();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_always_changed_part_is_error() {
    for scheme in SCHEMES {
        let world = World::new(scheme).await;
        world.storage.state.faults.changed.store(1000, Ordering::Relaxed);
        let error = world.publish().await.unwrap_err();
        assert!(matches!(error, Error::Store { .. }), "{error:?}");
        assert_eq!(world.storage.object(&world.key()), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_retries_busy_storage() {
    for scheme in SCHEMES {
        let world = World::new(scheme).await;
        world.storage.state.faults.busy.store(4, Ordering::Relaxed);
        world.publish().await.unwrap();
        world.require_published();
        world.storage.state.faults.busy.store(1000, Ordering::Relaxed);
        let error = format!("{:?}", world.publish().await.unwrap_err());
        assert!(error.contains("503") && error.contains("R7"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_retries_cut_connections() {
    for scheme in SCHEMES {
        let world = World::new(scheme).await;
        world.storage.state.faults.cut.store(4, Ordering::Relaxed);
        world.publish().await.unwrap();
        world.require_published();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_damaged_file_leaves_upload_of_others() {
    let world = World::new(Scheme::Oss).await;
    world.interrupt().await;
    let mut bytes = world.bytes();
    *bytes.last_mut().unwrap() ^= 1;
    let damaged = world.directory.path().join("damaged").join(world.bundle.file_name().unwrap());
    std::fs::create_dir(damaged.parent().unwrap()).unwrap();
    std::fs::write(&damaged, bytes).unwrap();
    std::fs::copy(checksum_path(&world.bundle), checksum_path(&damaged)).unwrap();
    let error = world.publish_file(&damaged).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    assert_eq!(world.storage.uploads(), 1);
    world.publish().await.unwrap();
    world.require_published();
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_lost_completion_is_success() {
    for scheme in SCHEMES {
        let world = World::new(scheme).await;
        world.storage.state.faults.lost_completions.store(1, Ordering::Relaxed);
        world.publish().await.unwrap();
        world.require_published();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_without_sidecar_writes_it() {
    for scheme in SCHEMES {
        let world = World::new(scheme).await;
        world.publish().await.unwrap();
        let stale = format!("{}  x\n", "0".repeat(64));
        for sidecar in [None, Some(stale)] {
            let key = format!("{}.sha256", world.key());
            {
                let mut content = world.storage.state.content.lock().unwrap();
                let mut old = content.objects.remove(&key).unwrap();
                if let Some(text) = sidecar {
                    old.bytes = text.into_bytes();
                    content.objects.insert(key, old);
                }
            }
            world.storage.state.requests.lock().unwrap().clear();
            assert!(world.publish().await.unwrap().present);
            world.require_published();
            // The checksums of the storage suffice to compare the bundle.
            let requests = world.storage.state.requests.lock().unwrap().clone();
            let reads = requests.iter().filter(|one| *one == "GET ").count();
            assert!(reads <= 1, "{requests:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_publishers_of_different_bytes_have_one_winner() {
    for scheme in SCHEMES {
        let world = World::new(scheme).await;
        let mut files = Vec::new();
        for seed in 0..8 {
            files.push(world.other_bundle(seed).await);
        }
        let races = files.iter().map(|file| world.publish_file(file));
        let results = futures_util::future::join_all(races).await;
        let won: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "{results:?}");
        let told = results.iter().filter(|one| matches!(one, Err(Error::Conflict { .. })));
        assert_eq!(told.count(), 7, "{results:?}");
        let stored = world.storage.object(&world.key()).unwrap();
        assert_eq!(Digest::of(&stored), won[0].digest);
        assert_eq!(world.storage.uploads(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_publishers_of_equal_bytes_all_succeed() {
    for scheme in SCHEMES {
        let world = World::new(scheme).await;
        let races = (0..6).map(|_| world.publish());
        for result in futures_util::future::join_all(races).await {
            result.unwrap();
        }
        world.require_published();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_object_is_removed() {
    for scheme in SCHEMES {
        let world = World::new(scheme).await;
        let changes = &world.storage.state.faults.changes_completed;
        for is_file in [true, false] {
            changes.store(true, Ordering::Relaxed);
            let published = if is_file { world.publish().await } else { world.write().await };
            let error = published.unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
            assert_eq!(world.storage.object(&world.key()), None);
        }
        changes.store(false, Ordering::Relaxed);
        world.publish().await.unwrap();
        world.require_published();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn list_without_next_page_is_error() {
    let world = World::with_layers(Scheme::Aws, &[1000]).await;
    world.publish().await.unwrap();
    let sidecars = ["a", "b"].map(|name| format!("{}.{name}", world.key()));
    {
        let mut content = world.storage.state.content.lock().unwrap();
        let object = content.objects[&world.key()].clone();
        content.objects.extend(sidecars.map(|key| (key, object.clone())));
    }
    assert_eq!(world.store().list().await.unwrap().len(), 1);
    world.storage.state.faults.cuts_lists.store(true, Ordering::Relaxed);
    let error = world.store().list().await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("the list is not complete"), "{cause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn find_sends_no_list() {
    for scheme in SCHEMES {
        let world = World::with_layers(scheme, &[1000]).await;
        assert_eq!(world.store().find(world.plan.document()).await.unwrap(), None);
        let published = world.publish().await.unwrap();
        {
            let mut content = world.storage.state.content.lock().unwrap();
            let object = content.objects[&world.key()].clone();
            content.objects.insert(format!("{}.old", world.key()), object);
        }
        world.storage.state.faults.cuts_lists.store(true, Ordering::Relaxed);
        let found = world.store().find(world.plan.document()).await.unwrap().unwrap();
        assert_eq!((&found.url, found.size), (&published.url, published.size));
        assert_eq!(found.digest, Some(published.digest));
        assert!(world.store().list().await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_with_signature_v1_is_accepted() {
    let world = World::new(Scheme::Oss).await;
    world.interrupt().await;
    let version = ("OSS_SIGNATURE_VERSION".to_owned(), "v1".to_owned());
    let variables = world.storage.variables().into_iter();
    let variables = variables.filter(|(name, _)| name != "OSS_REGION").chain([version]);
    let options = world.options().environment(StoreEnvironment::new(variables));
    let store = ObjectStore::open(&world.storage.url(), &options).unwrap();
    let options = PublishOptions::default();
    store.publish(&world.bundle, world.plan.document(), &options).await.unwrap();
    world.require_published();
    assert_eq!(store.list().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_to_versioned_oss_is_refused() {
    let world = World::with_layers(Scheme::Oss, &[1000]).await;
    world.storage.state.faults.is_versioned.store(true, Ordering::Relaxed);
    assert!(matches!(world.publish().await, Err(Error::Versioned { .. })));
    let options = world.options().allow_versioned(true);
    let store = ObjectStore::open(&world.storage.url(), &options).unwrap();
    let options = PublishOptions::default();
    store.publish(&world.bundle, world.plan.document(), &options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_refused_names_code_without_secrets() {
    for scheme in SCHEMES {
        let world = World::new(scheme).await;
        let variables = world.storage.variables().into_iter().map(|(name, value)| {
            let value = if value == SECRET { format!("{SECRET}x") } else { value };
            (name, value)
        });
        let options = world.options().environment(StoreEnvironment::new(variables));
        let store = ObjectStore::open(&world.storage.url(), &options).unwrap();
        let options = PublishOptions::default();
        let result = store.publish(&world.bundle, world.plan.document(), &options).await;
        let error = result.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("access denied") && cause.contains("HTTP 403"), "{cause}");
        assert!(!format!("{error:?} {store:?}").contains(SECRET));
    }
}

#[tokio::test]
async fn publish_without_credentials_names_variables() {
    for (scheme, name) in
        [(Scheme::Aws, "AWS_ACCESS_KEY_ID"), (Scheme::Oss, "ALIBABA_CLOUD_ACCESS_KEY_ID")]
    {
        let world = World::with_layers(scheme, &[10]).await;
        let off = [
            ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
            ("ALIBABA_CLOUD_ECS_METADATA_DISABLED".to_owned(), "true".to_owned()),
        ];
        let variables = world.storage.variables().into_iter();
        let variables = variables.filter(|(name, _)| !name.contains("KEY")).chain(off);
        let options = world.options().environment(StoreEnvironment::new(variables));
        let address = format!("{}/x", world.storage.url());
        let error = ObjectFile::open(&address, &options).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(name), "{cause}");
    }
}

/// Needs the client of Alibaba Cloud: the program in `COMPASS_OSS_PYTHON` is a Python that can
/// import `alibabacloud_oss_v2`. Without it, the test is skipped, unless `COMPASS_INTEROP=required`
/// is set, as in CI.
#[tokio::test(flavor = "multi_thread")]
async fn oss_server_accepts_client_of_vendor() {
    let Ok(python) = std::env::var("COMPASS_OSS_PYTHON") else {
        let required = std::env::var("COMPASS_INTEROP").is_ok_and(|value| value == "required");
        assert!(!required, "COMPASS_OSS_PYTHON is not set");
        eprintln!("SKIPPED: COMPASS_OSS_PYTHON is not set");
        return;
    };
    let storage = Storage::start(Scheme::Oss).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stores/oss_client.py");
    let endpoint = format!("http://{}", storage.address);
    let output = tokio::process::Command::new(python)
        .args([script, &endpoint, server::BUCKET, server::KEY_ID, SECRET])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
