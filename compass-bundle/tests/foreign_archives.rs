//! Image archives of other tools in unusual forms.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod archives;

use std::sync::Arc;

use archives::{
    ARCHIVE, config, file, gzip, layer, linked, package, problems, refusal, saved, saved_as, scan,
    tar,
};
use compass_bundle::install;
use compass_registry::CopyOptions;
use compass_registry::storage::MemoryStorage;
use serde_json::json;
use tokio_tar::EntryType;

#[tokio::test]
async fn archive_named_as_image_without_image_is_error() {
    let below_a_directory = tar(&[file("web/manifest.json", b"[]")]);
    let told = refusal(&package(&below_a_directory)).await;
    assert!(told.contains(ARCHIVE) && told.contains("no manifest.json or index.json"), "{told}");

    let ancient = tar(&[file("0a/layer.tar", &layer()), file("repositories", b"{}")]);
    let told = refusal(&gzip(&package(&gzip(&ancient)))).await;
    assert!(
        told.contains(ARCHIVE) && told.contains("it was saved by a Docker older than 1.10"),
        "{told}"
    );
    let told = refusal(&gzip(&ancient)).await;
    assert!(told.contains("it was saved by a Docker older than 1.10"), "{told}");
}

#[tokio::test]
async fn install_without_images_is_error() {
    let package = scan(&tar(&[file("gpu/gpu.yaml", b"a: b\n")])).await;
    let (site, place) = (MemoryStorage::default(), "site.example".parse().unwrap());
    let refused =
        install(&package.clone().into(), Arc::new(site.clone()), &place, &CopyOptions::default())
            .await;
    assert!(refused.unwrap_err().to_string().contains("it contains no image"));
}

#[tokio::test]
async fn duplicate_entry_is_error() {
    let twice = [&file("gpu/gpu.yaml", b"a: c\n")[..], &package(&saved())].concat();
    let told = refusal(&twice).await;
    assert!(told.contains("gpu/gpu.yaml: it exists twice"), "{told}");
    let twice = [&file("manifest.json", b"[]")[..], &saved()].concat();
    let told = refusal(&package(&twice)).await;
    assert!(told.contains("manifest.json: it exists twice"), "{told}");
}

#[tokio::test]
async fn link_to_layer_is_resolved() {
    let (layer, config) = (layer(), config(&[layer()]));
    for (kind, link, path) in [
        (EntryType::Link, "./0a/real.tar", "0b/layer.tar"),
        (EntryType::Link, "real.tar", "0b/layer.tar"),
        (EntryType::Symlink, "../0a/real.tar", "0b/layer.tar"),
        (EntryType::Symlink, "deeper/real.tar", "0b/layer.tar"),
        (EntryType::Symlink, "/0a/real.tar", "0b/layer.tar"),
    ] {
        let real = match link {
            "real.tar" => "real.tar",
            "deeper/real.tar" => "0b/deeper/real.tar",
            _ => "0a/real.tar",
        };
        let manifest =
            json!([{"Config": "c.json", "RepoTags": ["h.example/web:v1"], "Layers": [path]}]);
        let archive = tar(&[
            file(real, &layer),
            linked(path.as_bytes(), kind, 0, b"", link.as_bytes()),
            file("c.json", &config),
            file("manifest.json", manifest.to_string().as_bytes()),
        ]);
        let package = scan(&package(&archive)).await;
        assert_eq!(problems(&package), [""; 0], "{link}");
    }
    let leads_out = linked(b"0b/layer.tar", EntryType::Symlink, 0, b"", b"../../layer.tar");
    let manifest = json!([{"Config": "c.json", "RepoTags": [], "Layers": ["0b/layer.tar"]}]);
    let archive = tar(&[
        leads_out,
        file("c.json", &config),
        file("manifest.json", manifest.to_string().as_bytes()),
    ]);
    let told = refusal(&package(&archive)).await;
    assert!(told.contains("0b/layer.tar is missing"), "{told}");
}

#[tokio::test]
async fn damaged_layer_without_digest_is_found() {
    let (good, config) = (gzip(&layer()), config(&[layer()]));
    let saved = |layer: &[u8]| saved_as(("c.json", &config), ("0a.tar.gz", layer));
    assert_eq!(problems(&scan(&package(&saved(&good))).await), [""; 0]);
    for at in [good.len() / 2, good.len() - 6] {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        for bytes in [package(&saved(&flipped)), gzip(&package(&gzip(&saved(&flipped))))] {
            let told = refusal(&bytes).await;
            assert!(told.contains("0a.tar.gz: its gzip is damaged"), "{told}");
        }
    }
}
