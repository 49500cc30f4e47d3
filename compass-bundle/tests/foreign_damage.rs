//! Damage and unusual content in foreign packages.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod archives;

use std::io::Write as _;
use std::sync::Arc;

use archives::{
    ARCHIVE, Attempt, config, entry, file, gzip, layer, package, problems, refusal, saved,
    saved_as, scan, tar,
};
use compass_bundle::{ForeignPackage, install};
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::random_bytes;
use compass_registry::{Algorithm, CopyOptions, Digest, Manifest, media_type};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio_tar::EntryType;

/// A compressed file with a wrong checksum, truncated, or followed by other data.
fn damaged_at_the_end(compressed: &[u8]) -> [(Vec<u8>, &'static str); 5] {
    let mut wrong = compressed.to_vec();
    let at = wrong.len() - 7;
    wrong[at] ^= 1;
    let mut wrong_size = compressed.to_vec();
    *wrong_size.last_mut().unwrap() ^= 1;
    let cut = compressed[..compressed.len() - 8].to_vec();
    let more = [compressed, &random_bytes(9, 1600)].concat();
    let member = [compressed, &gzip(b"and more")].concat();
    [
        (wrong, "its gzip is damaged"),
        (wrong_size, "its gzip is damaged"),
        (cut, "its gzip is truncated"),
        (more, "other data follows its end"),
        (member, "other data follows its end"),
    ]
}

#[tokio::test]
async fn damaged_end_of_package_is_error() {
    let whole = gzip(&package(&gzip(&saved())));
    assert_eq!(scan(&whole).await.images().len(), 1);
    for (bytes, reason) in damaged_at_the_end(&whole) {
        for told in Attempt::of(&bytes).await.reasons() {
            assert!(told.contains(reason), "{told}");
        }
        // Compressed twice.
        for told in Attempt::of(&gzip(&bytes)).await.reasons() {
            assert!(told.contains(reason), "{told}");
        }
    }
    let plain = [package(&saved()), b"more".to_vec()].concat();
    for told in Attempt::of(&plain).await.reasons() {
        assert!(told.contains("other data follows its end"), "{told}");
    }
}

#[tokio::test]
async fn archive_truncated_between_entries_is_error() {
    let whole = tar(&[file("a.yaml", b"a: b"), file("b.yaml", &[b'#'; 512])]);
    assert_eq!(scan(&whole).await.files().len(), 2);
    // Each file has a header and one block.
    for (blocks, cut) in [(2, true), (4, true), (5, false), (6, false)] {
        match Attempt::of(&whole[..blocks * 512]).await.package {
            Ok(_) => assert!(!cut, "{blocks} blocks"),
            Err(told) => assert!(cut && told.contains("its end marker is missing"), "{told}"),
        }
    }
}

#[tokio::test]
async fn damaged_end_of_image_archive_is_error() {
    for (archive, reason) in damaged_at_the_end(&gzip(&saved())) {
        let told = refusal(&gzip(&package(&archive))).await;
        assert!(told.contains(reason), "{told}");
    }
}

#[tokio::test]
async fn trailing_zeros_are_limited() {
    let zeros = vec![0; 100_000];
    let bytes = package(&[gzip(&[saved(), zeros.clone()].concat()), zeros.clone()].concat());
    for bytes in [[&bytes, &zeros[..]].concat(), [gzip(&bytes), zeros].concat()] {
        let attempt = Attempt::of(&bytes).await;
        assert_eq!(attempt.package.unwrap().images().len(), 1);
        attempt.unpacked.unwrap();
    }

    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    bomb.write_all(&package(&saved())).unwrap();
    let block = vec![0; 1 << 20];
    (0..1024).for_each(|_| bomb.write_all(&block).unwrap());
    for told in Attempt::of(&bomb.finish().unwrap()).await.reasons() {
        assert!(told.contains("too many zeros follow its end"), "{told}");
    }
}

#[tokio::test]
async fn archive_of_several_members_is_valid() {
    let saved = saved();
    let (one, other) = saved.split_at(1000);
    let bytes = package(&[gzip(one), gzip(b""), gzip(other)].concat());
    let package = scan(&bytes).await;
    assert_eq!(problems(&package), [""; 0]);
}

#[tokio::test]
async fn package_of_one_image_keeps_layer_types() {
    let plain = "application/vnd.oci.image.layer.v1.tar";
    let compressed = format!("{plain}+gzip");
    for (bytes, kind) in [(layer(), plain), (gzip(&layer()), &compressed)] {
        let config = config(&[layer()]);
        let saved = saved_as(("c.json", &config), ("a/layer.tar", &bytes));
        for package in [scan(&saved).await, scan(&gzip(&saved)).await] {
            assert_eq!(layer_types(&package), [kind]);
            assert_eq!(problems(&package), [""; 0]);
        }
    }
}

#[tokio::test]
async fn package_of_one_image_damaged_layer_is_problem() {
    let mut damaged = layer();
    damaged[1600] ^= 1;
    let config = config(&[layer()]);
    let package = scan(&saved_as(("c.json", &config), ("a/layer.tar", &damaged))).await;
    let found = problems(&package);
    assert!(found[0].contains("layer a/layer.tar has the diff ID"), "{found:?}");
}

#[tokio::test]
async fn content_unlike_digest_in_name_is_problem() {
    let (layer, config) = (gzip(&layer()), config(&[layer()]));
    let hex = Digest::of(&config).hex();
    let blob = format!("blobs/sha256/{}", Digest::of(&layer).hex());
    let good = [
        (format!("{hex}.json"), "0a/layer.tar".to_owned()),
        (format!("blobs/sha256/{hex}"), blob.clone()),
        (format!("sha256:{hex}"), blob),
        // No name contains a digest of the content.
        ("config.json".to_owned(), format!("{}/layer.tar", "0a".repeat(32))),
    ];
    for (config_name, layer_name) in good {
        let saved = saved_as((&config_name, &config), (&layer_name, &layer));
        let package = scan(&package(&saved)).await;
        assert_eq!(problems(&package), [""; 0], "{config_name}");
        install_to_memory(&package).await.unwrap();
    }

    let wrong = "0a".repeat(32);
    let (blob, plain) = (format!("blobs/sha256/{wrong}"), "0a/layer.tar".to_owned());
    let bad = [
        (format!("{wrong}.json"), plain.clone()),
        (blob.clone(), plain.clone()),
        (format!("sha256:{wrong}"), plain),
        ("config.json".to_owned(), blob),
    ];
    for (config_name, layer_name) in bad {
        let saved = saved_as((&config_name, &config), (&layer_name, &layer));
        let package = scan(&package(&saved)).await;
        let found = problems(&package);
        assert!(found[0].contains(&wrong) && found[0].contains("is damaged"), "{found:?}");
        let refused = install_to_memory(&package).await.unwrap_err();
        assert_eq!(refused, found[0]);
    }
}

/// An OCI layout of one image whose layer has this content, which may not match its digest.
fn layout(algorithm: Algorithm, content: &[u8]) -> Vec<u8> {
    let (layer, config) = (layer(), config(&[layer()]));
    let describe = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": algorithm.digest(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": describe(media_type::OCI_CONFIG, &config),
        "layers": [describe(media_type::OCI_LAYER, &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let index =
        json!({"schemaVersion": 2, "manifests": [describe(media_type::OCI_MANIFEST, &manifest)]});
    let blob = |bytes: &[u8], content: &[u8]| {
        let name = format!("blobs/{}/{}", algorithm.name(), algorithm.digest(bytes).hex());
        [long_name(&name), file(&name, content)].concat()
    };
    tar(&[
        blob(&config, &config),
        blob(&layer, content),
        blob(&manifest, &manifest),
        file("index.json", index.to_string().as_bytes()),
    ])
}

/// The entry that GNU tar writes before an entry whose name is too long for its header.
fn long_name(name: &str) -> Vec<u8> {
    let name = format!("{name}\0");
    entry(b"././@LongLink", EntryType::GNULongName, name.len() as u64, name.as_bytes())
}

#[tokio::test]
async fn layout_blob_unlike_digest_is_problem() {
    let layer = layer();
    let mut damaged = layer.clone();
    damaged[1600] ^= 1;
    for algorithm in Algorithm::ALL {
        for (content, count) in [(&layer, 0), (&damaged, 1)] {
            let package = scan(&package(&layout(algorithm, content))).await;
            assert_eq!(problems(&package).len(), count);
            assert_eq!(install_to_memory(&package).await.is_err(), count > 0);
        }
    }
}

#[tokio::test]
async fn damage_message_contains_file_names() {
    let saved = saved();
    let compressed = gzip(&saved);
    for (archive, inside) in [
        (compressed[..compressed.len() / 2].to_vec(), "its gzip is truncated"),
        (saved[..1500].to_vec(), "layer.tar"),
        ([&saved[..4608], b"no header"].concat(), "layer.tar"),
    ] {
        for bytes in [package(&archive), gzip(&package(&archive))] {
            let told = refusal(&bytes).await;
            assert!(told.contains(&format!("{ARCHIVE}: ")) && told.contains(inside), "{told}");
        }
    }

    // The package itself is truncated, not an archive in it.
    let whole = package(&compressed);
    let compressed = gzip(&whole);
    for bytes in [&whole[..whole.len() - 2048], &compressed[..compressed.len() - 1000]] {
        let told = refusal(bytes).await;
        assert!(told.contains(&format!("(in {ARCHIVE})")), "{told}");
    }
}

#[tokio::test]
async fn invalid_content_of_layers_is_ignored() {
    // The start of a tar archive only.
    let odd = [&file("a", b"b")[..], b"no header"].concat();
    let config = config(std::slice::from_ref(&odd));
    let package = scan(&saved_as(("c.json", &config), ("a/layer.tar", &odd))).await;
    assert_eq!(problems(&package), [""; 0]);

    let compressed = gzip(&layer());
    let cut = &compressed[..compressed.len() - 9];
    let told = refusal(&saved_as(("c.json", &config), ("a/layer.tar", cut))).await;
    assert!(told.contains("a/layer.tar: its gzip is truncated"), "{told}");
}

#[tokio::test]
async fn text_starting_as_gzip_is_file() {
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    for content in [
        b"\x1f\x8b".to_vec(),
        b"\x1f\x8b is how gzip starts".to_vec(),
        b"\x1f\x8b\x08\x00 is how gzip usually starts".to_vec(),
        [b"\x1f\x8b\x08\xff", &random_bytes(6, 4000)[..]].concat(),
        head.to_vec(),
        gzip(b"\x1f\x8b is how gzip starts"),
    ] {
        let bytes = package(&gzip(&saved()));
        let bytes = [file("gpu/odd.bin", &content), bytes].concat();
        let attempt = Attempt::of(&gzip(&bytes)).await;
        let package = attempt.package.unwrap();
        let odd = &package.files()[0];
        assert_eq!((odd.path.as_str(), odd.size), ("gpu/odd.bin", content.len() as u64));
        assert_eq!(odd.digest, Digest::of(&content));
        assert_eq!(package.images().len(), 1);
        attempt.unpacked.unwrap();
    }
}

#[tokio::test]
async fn damaged_start_of_archive_is_error() {
    let whole = gzip(&saved());
    let mut method = whole.clone();
    method[2] = 7;
    let mut content = whole.clone();
    content[10..40].fill(0xff);
    for damaged in [Vec::new(), b"no archive".to_vec(), method, content.clone(), gzip(b"none")] {
        let told = refusal(&package(&damaged)).await;
        assert!(told.contains(&format!("{ARCHIVE}: ")), "{told}");
    }
    // The header is that of a compressed file.
    let told = refusal(&tar(&[file("gpu/what.bin", &content)])).await;
    assert!(told.contains("gpu/what.bin: its gzip is damaged"), "{told}");
}

async fn install_to_memory(package: &ForeignPackage) -> Result<(), String> {
    let (place, storage) = ("site.example/all".parse().unwrap(), MemoryStorage::default());
    let installed = install(
        &package.clone().into(),
        Arc::new(storage.clone()),
        &place,
        &CopyOptions::default(),
    )
    .await;
    installed.map(drop).map_err(|error| error.to_string())
}

fn layer_types(package: &ForeignPackage) -> Vec<String> {
    let Manifest::Image { layers, .. } = package.images()[0].root.parse().unwrap() else {
        panic!("an image manifest")
    };
    layers.into_iter().map(|layer| layer.media_type).collect()
}
