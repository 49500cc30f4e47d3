//! Foreign packages that would need too much time or memory are rejected with a reason.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod archives;

use std::io::Write as _;

use archives::{
    ARCHIVE, Attempt, config, file, gzip, layer, linked, package, peak, problems, refusal,
    saved_as, scan, tar,
};
use compass_registry::{Digest, media_type};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio_tar::{EntryType, Header};

/// A sparse file of a pebibyte with one block of data.
fn sparse(name: &str) -> Vec<u8> {
    let mut header = Header::new_gnu();
    let gnu = header.as_gnu_mut().unwrap();
    gnu.name[..name.len()].copy_from_slice(name.as_bytes());
    let set = |field: &mut [u8; 12], value: u64| {
        field[0] = 0x80;
        field[4..].copy_from_slice(&value.to_be_bytes());
    };
    set(&mut gnu.sparse[0].offset, (1 << 50) - 512);
    set(&mut gnu.sparse[0].numbytes, 512);
    set(&mut gnu.realsize, 1 << 50);
    header.set_entry_type(EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_size(512);
    header.set_cksum();
    [&header.as_bytes()[..], &[7; 512]].concat()
}

/// A sparse file of 9 bytes in the POSIX format.
fn sparse_posix(name: &str) -> Vec<u8> {
    let record = b"24 GNU.sparse.map=2,2,7,1\n21 GNU.sparse.size=9\n";
    let record: Vec<u8> =
        record.split_inclusive(|byte| *byte == b'\n').flat_map(with_length).collect();
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_size(record.len() as u64);
    header.set_cksum();
    let mut bytes = [&header.as_bytes()[..], &record].concat();
    bytes.resize(1024, 0);
    [bytes, file(name, b"abc")].concat()
}

/// Prefixes a record of an extended header with its length.
fn with_length(record: &[u8]) -> Vec<u8> {
    let text = &record[record.iter().position(|byte| *byte == b' ').unwrap()..];
    let length = (1..99).find(|length: &usize| length.to_string().len() + text.len() == *length);
    [length.unwrap().to_string().as_bytes(), text].concat()
}

/// A sparse file of 1 KiB in the GNU format, whose second half is data.
fn sparse_gnu(name: &str) -> Vec<u8> {
    let mut header = Header::new_gnu();
    let gnu = header.as_gnu_mut().unwrap();
    gnu.name[..name.len()].copy_from_slice(name.as_bytes());
    gnu.sparse[0].offset.copy_from_slice(b"00000001000\0");
    gnu.sparse[0].numbytes.copy_from_slice(b"00000001000\0");
    gnu.realsize.copy_from_slice(b"00000002000\0");
    header.set_entry_type(EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_size(512);
    header.set_cksum();
    [&header.as_bytes()[..], &[7; 512]].concat()
}

#[tokio::test]
async fn overlong_name_is_error() {
    let name = "a".repeat(5000);
    let record = |key: &str| {
        let text = format!(" {key}={name}\n");
        let length =
            (1..9999).find(|length| length.to_string().len() + text.len() == *length).unwrap();
        format!("{length}{text}").into_bytes()
    };
    for key in ["path", "linkpath"] {
        let record = record(key);
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_size(record.len() as u64);
        header.set_cksum();
        let mut bytes = [&header.as_bytes()[..], &record].concat();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes.extend(match key {
            "path" => file("b", b"1"),
            _ => linked(b"b", EntryType::Symlink, 0, b"", b"c"),
        });
        for told in Attempt::of(&tar(&[file("gpu/gpu.yaml", b"a: b\n"), bytes])).await.reasons() {
            assert!(
                told.contains("a name of 5000 bytes is too long") && told.len() < 300,
                "{told}"
            );
        }
    }
}

#[tokio::test]
async fn sparse_file_is_expanded() {
    for (bytes, content) in [
        (sparse_posix("gpu/holes"), b"\0\0ab\0\0\0c\0".to_vec()),
        (sparse_gnu("gpu/holes"), [[0; 512], [7; 512]].concat()),
    ] {
        let attempt = Attempt::of(&tar(&[file("gpu/gpu.yaml", b"a: b\n"), bytes])).await;
        let package = attempt.package.unwrap();
        assert_eq!(package.problems(), []);
        assert_eq!(package.files()[1].digest, Digest::of(&content));
        attempt.unpacked.unwrap();
    }
}

#[tokio::test]
async fn huge_sparse_file_is_error() {
    let bytes = tar(&[file("gpu/gpu.yaml", b"a: b\n"), sparse("gpu/holes")]);
    for told in Attempt::of(&bytes).await.reasons() {
        assert!(
            told.contains("gpu/holes: its decompressed size exceeds the limit of 64 GiB"),
            "{told}"
        );
    }
    let told = refusal(&package(&tar(&[sparse("holes"), file("manifest.json", b"[]")]))).await;
    assert!(told.contains(&format!("{ARCHIVE}: holes: its decompressed size")), "{told}");
}

#[tokio::test]
async fn sparse_file_in_layer_is_ignored() {
    let layer = tar(&[sparse("var/log/lastlog")]);
    let config = config(std::slice::from_ref(&layer));
    for layer in [layer.clone(), gzip(&layer)] {
        let saved = saved_as(("c.json", &config), ("a/layer.tar", &layer));
        for bytes in [package(&saved), saved] {
            let package = scan(&bytes).await;
            assert_eq!(problems(&package), [""; 0]);
        }
    }
}

#[tokio::test]
async fn image_with_too_many_entries_is_error() {
    let (layer, config) = (layer(), config(&[layer()]));
    let saved = |names: usize, layers: usize| {
        let tags: Vec<_> = (0..names).map(|number| format!("h.x/a:v{number}")).collect();
        let manifest = json!([{"Config": "c.json", "RepoTags": tags, "Layers": vec!["l"; layers]}]);
        let manifest = manifest.to_string();
        tar(&[
            file("l", &layer),
            file("c.json", &config),
            file("manifest.json", manifest.as_bytes()),
        ])
    };
    assert_eq!(scan(&package(&saved(3, 1))).await.images().len(), 3);
    let before = peak();
    for (names, layers) in [(100_000, 300_000), (1, 2000), (3000, 900), (100_000, 20)] {
        for bytes in [gzip(&package(&gzip(&saved(names, layers)))), saved(names, layers)] {
            let told = refusal(&bytes).await;
            assert!(told.contains("more images and layers than the limits allow"), "{told}");
        }
    }
    let more = peak().saturating_sub(before);
    assert!(more < 200 << 20, "{more} bytes");
}

#[tokio::test]
async fn layout_repeating_one_image_is_error() {
    let describe = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()});
    let layers = vec![describe(media_type::OCI_LAYER, b"x"); 900];
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": describe(media_type::OCI_CONFIG, b"{}"),
        "layers": layers,
    });
    let manifest = manifest.to_string().into_bytes();
    let entry = describe(media_type::OCI_MANIFEST, &manifest);
    let index = json!({"schemaVersion": 2, "manifests": vec![entry; 3000]});
    let archive = tar(&[
        file(&format!("blobs/sha256/{}", Digest::of(&manifest).hex()), &manifest),
        file("index.json", index.to_string().as_bytes()),
    ]);
    let told = refusal(&package(&archive)).await;
    assert!(told.contains("more images and layers than the limits allow"), "{told}");
}

#[tokio::test]
async fn too_much_metadata_is_error() {
    let yaml = vec![b' '; 4 << 20];
    let mut bytes = GzEncoder::new(Vec::new(), Compression::fast());
    for number in 0..70 {
        bytes.write_all(&file(&format!("gpu/{number}.yaml"), &yaml)).unwrap();
    }
    bytes.write_all(&tar(&[])).unwrap();
    let told = refusal(&bytes.finish().unwrap()).await;
    assert!(told.contains("names and metadata exceed the limit"), "{told}");
}
