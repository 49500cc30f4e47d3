//! Packages that other tools made: what is damaged is found, and what is not is read.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod archives;

use std::io::Write as _;
use std::sync::Arc;

use archives::{
    ARCHIVE, Tried, config, entry, file, gzip, layer, linked, package, problems, refusal, saved,
    saved_as, scan, tar,
};
use compass_bundle::{ForeignPackage, LocalFile, Package, compare, install_package, unpack};
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::random_bytes;
use compass_registry::{Algorithm, CopyOptions, Digest, Manifest, NoProgress, media_type};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio_tar::EntryType;

/// Gzip with a wrong checksum, cut off, and with something behind it.
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
        (cut, "its gzip is cut off"),
        (more, "something else follows its end"),
        (member, "something else follows its end"),
    ]
}

#[tokio::test]
async fn damage_at_the_end_of_a_package_is_found() {
    let whole = gzip(&package(&gzip(&saved())));
    assert_eq!(scan(&whole).await.images().len(), 1);
    for (bytes, reason) in damaged_at_the_end(&whole) {
        for told in Tried::of(&bytes).await.reasons() {
            assert!(told.contains(reason), "{told}");
        }
        // Compressed twice.
        for told in Tried::of(&gzip(&bytes)).await.reasons() {
            assert!(told.contains(reason), "{told}");
        }
    }
    let plain = [package(&saved()), b"more".to_vec()].concat();
    for told in Tried::of(&plain).await.reasons() {
        assert!(told.contains("something else follows its end"), "{told}");
    }
}

#[tokio::test]
async fn a_plain_archive_that_was_cut_between_two_files_is_cut_off() {
    let whole = tar(&[file("a.yaml", b"a: b"), file("b.yaml", &[b'#'; 512])]);
    assert_eq!(scan(&whole).await.files().len(), 2);
    // Each file has a header and one block.
    for (blocks, cut) in [(2, true), (4, true), (5, false), (6, false)] {
        match Tried::of(&whole[..blocks * 512]).await.package {
            Ok(_) => assert!(!cut, "{blocks} blocks"),
            Err(told) => assert!(cut && told.contains("nothing marks its end"), "{told}"),
        }
    }
}

#[tokio::test]
async fn damage_at_the_end_of_an_image_archive_is_found() {
    for (archive, reason) in damaged_at_the_end(&gzip(&saved())) {
        let told = refusal(&gzip(&package(&archive))).await;
        assert!(told.contains(reason), "{told}");
    }
}

#[tokio::test]
async fn zeros_behind_an_end_are_read_and_endless_ones_are_not() {
    let zeros = vec![0; 100_000];
    let bytes = package(&[gzip(&[saved(), zeros.clone()].concat()), zeros.clone()].concat());
    for bytes in [[&bytes, &zeros[..]].concat(), [gzip(&bytes), zeros].concat()] {
        let tried = Tried::of(&bytes).await;
        assert_eq!(tried.package.unwrap().images().len(), 1);
        tried.unpacked.unwrap();
    }

    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    bomb.write_all(&package(&saved())).unwrap();
    let block = vec![0; 1 << 20];
    (0..1024).for_each(|_| bomb.write_all(&block).unwrap());
    for told in Tried::of(&bomb.finish().unwrap()).await.reasons() {
        assert!(told.contains("endless zeros follow its end"), "{told}");
    }
}

#[tokio::test]
async fn an_archive_in_several_members_is_whole() {
    let saved = saved();
    let (one, other) = saved.split_at(1000);
    let bytes = package(&[gzip(one), gzip(b""), gzip(other)].concat());
    let package = scan(&bytes).await;
    assert_eq!(problems(&package), [""; 0]);
}

#[tokio::test]
async fn an_image_that_is_the_package_itself_has_layers_of_their_own_types() {
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
async fn damage_of_a_layer_is_found_where_the_image_is_the_package_itself() {
    let mut damaged = layer();
    damaged[1600] ^= 1;
    let config = config(&[layer()]);
    let package = scan(&saved_as(("c.json", &config), ("a/layer.tar", &damaged))).await;
    let found = problems(&package);
    assert!(found[0].contains("layer a/layer.tar has the diff ID"), "{found:?}");
}

#[tokio::test]
async fn content_that_has_not_the_digest_of_its_name_is_damaged_and_not_installed() {
    let (layer, config) = (gzip(&layer()), config(&[layer()]));
    let hex = Digest::of(&config).hex();
    let blob = format!("blobs/sha256/{}", Digest::of(&layer).hex());
    let good = [
        (format!("{hex}.json"), "0a/layer.tar".to_owned()),
        (format!("blobs/sha256/{hex}"), blob.clone()),
        (format!("sha256:{hex}"), blob),
        // Nothing of this says what its content is.
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

/// An OCI layout of one image, of which the layer has this content, whatever its digest says.
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

/// What GNU tar writes before an entry whose name is longer than its header has room for.
fn long_name(name: &str) -> Vec<u8> {
    let name = format!("{name}\0");
    entry(b"././@LongLink", EntryType::GNULongName, name.len() as u64, name.as_bytes())
}

#[tokio::test]
async fn blobs_of_a_layout_have_the_digests_of_their_names() {
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
async fn damage_is_told_with_the_names_of_the_files_it_is_in() {
    let saved = saved();
    let compressed = gzip(&saved);
    for (archive, inside) in [
        (compressed[..compressed.len() / 2].to_vec(), "its gzip is cut off"),
        (saved[..1500].to_vec(), "layer.tar"),
        ([&saved[..4608], b"no header"].concat(), "layer.tar"),
    ] {
        for bytes in [package(&archive), gzip(&package(&archive))] {
            let told = refusal(&bytes).await;
            assert!(told.contains(&format!("{ARCHIVE}: ")) && told.contains(inside), "{told}");
        }
    }

    // It is the package that ends, and no archive in it.
    let whole = package(&compressed);
    let compressed = gzip(&whole);
    for bytes in [&whole[..whole.len() - 2048], &compressed[..compressed.len() - 1000]] {
        let told = refusal(bytes).await;
        assert!(told.contains(&format!("(in {ARCHIVE})")), "{told}");
    }
}

#[tokio::test]
async fn what_is_in_the_layers_of_an_image_does_not_matter() {
    // The beginning of a tar archive, and no more.
    let odd = [&file("a", b"b")[..], b"no header"].concat();
    let config = config(std::slice::from_ref(&odd));
    let package = scan(&saved_as(("c.json", &config), ("a/layer.tar", &odd))).await;
    assert_eq!(problems(&package), [""; 0]);

    let compressed = gzip(&layer());
    let cut = &compressed[..compressed.len() - 9];
    let told = refusal(&saved_as(("c.json", &config), ("a/layer.tar", cut))).await;
    assert!(told.contains("a/layer.tar: its gzip is cut off"), "{told}");
}

#[tokio::test]
async fn a_file_that_begins_like_gzip_is_a_file() {
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    for content in [
        b"\x1f\x8b".to_vec(),
        b"\x1f\x8b is how gzip begins".to_vec(),
        b"\x1f\x8b\x08\x00 is how gzip begins, mostly".to_vec(),
        [b"\x1f\x8b\x08\xff", &random_bytes(6, 4000)[..]].concat(),
        head.to_vec(),
        gzip(b"\x1f\x8b is how gzip begins"),
    ] {
        let bytes = package(&gzip(&saved()));
        let bytes = [file("gpu/odd.bin", &content), bytes].concat();
        let tried = Tried::of(&gzip(&bytes)).await;
        let package = tried.package.unwrap();
        let odd = &package.files()[0];
        assert_eq!((odd.path.as_str(), odd.size), ("gpu/odd.bin", content.len() as u64));
        assert_eq!(odd.digest, Digest::of(&content));
        assert_eq!(package.images().len(), 1);
        tried.unpacked.unwrap();
    }
}

#[tokio::test]
async fn an_archive_that_is_damaged_at_its_beginning_is_not_taken_for_a_file() {
    let whole = gzip(&saved());
    let mut method = whole.clone();
    method[2] = 7;
    let mut content = whole.clone();
    content[10..40].fill(0xff);
    for damaged in [Vec::new(), b"no archive".to_vec(), method, content.clone(), gzip(b"none")] {
        let told = refusal(&package(&damaged)).await;
        assert!(told.contains(&format!("{ARCHIVE}: ")), "{told}");
    }
    // By its header alone, it is a compressed file.
    let told = refusal(&tar(&[file("gpu/what.bin", &content)])).await;
    assert!(told.contains("gpu/what.bin: its gzip is damaged"), "{told}");
}

#[tokio::test]
async fn colons_and_steps_that_lead_nowhere_are_unpacked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("old.tar.gz");
    let entries =
        ["./gpu/redis:4.0.yaml", "gpu/./deep/././a.yaml"].map(|name| file(name, b"a: b\n"));
    std::fs::write(&path, tar(&entries)).unwrap();
    let source = Arc::new(LocalFile::open(&path).unwrap());
    unpack(source, directory.path(), &NoProgress).await.unwrap();
    for name in ["gpu/redis:4.0.yaml", "gpu/deep/a.yaml"] {
        assert_eq!(std::fs::read(directory.path().join(name)).unwrap(), b"a: b\n", "{name}");
    }
    for name in ["/./a", "a/.//b", ".//a", "a\\b"] {
        Tried::of(&tar(&[file(name, b"a: b\n")])).await.unpacked.unwrap();
    }
    for name in ["./../a", "a/./../../b"] {
        let refused = Tried::of(&tar(&[file(name, b"a: b\n")])).await.unpacked.unwrap_err();
        assert!(refused.contains("leads outside"), "{refused}");
    }
}

#[tokio::test]
async fn scan_reports_what_cannot_be_unpacked() {
    let link = |name: &[u8], kind| linked(name, kind, 0, b"", b"/etc/passwd");
    let bytes = tar(&[
        file("p/good.yaml", b"a: b\n"),
        file("p/../../out.yaml", b"a: b\n"),
        file("C:/top.yaml", b"a: b\n"),
        link(b"p/soft", EntryType::Symlink),
        link(b"p/hard", EntryType::Link),
        link(b"p/pipe", EntryType::Fifo),
    ]);
    let package = scan(&bytes).await;
    let mut found: Vec<_> = package.problems().into_iter().collect();
    found.sort_by(|one, other| one.file.cmp(&other.file));
    let found: Vec<_> =
        found.iter().map(|one| (one.file.as_deref().unwrap(), one.what.as_str())).collect();
    let no_file = "it is a link or a device, which bundles have none of";
    assert_eq!(
        found,
        [
            ("C:/top.yaml", "it has a name that leads outside on other systems"),
            ("p/../../out.yaml", "it leads outside"),
            ("p/hard", no_file),
            ("p/pipe", no_file),
            ("p/soft", no_file),
        ]
    );
    assert!(package.require_whole().is_err());
    assert_eq!(scan(&saved()).await.problems(), []);
}

#[tokio::test]
async fn names_that_do_not_go_together_are_the_packages_fault() {
    let long = format!("p/{}\0", "x".repeat(300));
    let size = long.len() as u64;
    let long = entry(b"././@LongLink", EntryType::GNULongName, size, long.as_bytes());
    for (entries, about) in [
        (&[file("p/x", b"a"), file("p/x/y.yaml", b"b")][..], "`p/x/y.yaml` is below a file"),
        (&[file("p/x/y.yaml", b"b"), file("p/x", b"a")], "`p/x` is there twice"),
        (&[long, file("p/x", b"a")], "has a name that is too long"),
    ] {
        let refused = Tried::of(&tar(entries)).await.unpacked.unwrap_err();
        assert!(refused.contains(about), "{refused}");
    }
}

#[tokio::test]
async fn packages_are_compared_whatever_directory_they_stand_in() {
    let (old, archive) = (gzip(&package(&saved())), saved());
    let moved = tar(&[
        file("other/gpu.yaml", b"a: c\n"),
        file("other/gpu-one-v1-image.tar.gz", &archive),
        file("other/new.yaml", b"d: e\n"),
    ]);
    let compared = async |bytes: &[u8]| Package::Foreign(scan(bytes).await);
    let (old, new) = (compared(&old).await, compared(&moved).await);
    let same = compare(&old, &old).await.unwrap();
    assert_eq!((same.unchanged_images, same.files.len(), same.images.len()), (1, 0, 0));
    let changed = compare(&old, &new).await.unwrap();
    assert_eq!((changed.unchanged_images, changed.new_bytes), (1, 0));
    let files: Vec<_> = changed.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files, ["gpu.yaml", "new.yaml"]);
    let (before, after) = changed.files[0].texts.clone().unwrap();
    assert_eq!((&before[..], &after[..]), (&b"a: b\n"[..], &b"a: c\n"[..]));
    let added = &changed.files[1];
    assert_eq!((added.old, added.new, &added.texts), (None, Some(5), &None));

    // Another layer is another image.
    let other = layer().into_iter().map(|byte| byte ^ 1).collect::<Vec<u8>>();
    let config = config(std::slice::from_ref(&other));
    let name = format!("{}.json", Digest::of(&config).hex());
    let other = package(&saved_as((&name, &config), ("0b/layer.tar", &other)));
    let changed = compare(&old, &compared(&other).await).await.unwrap();
    let [image] = &changed.images[..] else { panic!("one image: {changed:?}") };
    assert_eq!((image.shared.len(), image.removed.len(), image.added.len()), (0, 1, 1));
    assert_eq!(image.configs.as_ref().unwrap().1, config);
}

async fn install_to_memory(package: &ForeignPackage) -> Result<(), String> {
    let (place, storage) = ("site.example/all".parse().unwrap(), MemoryStorage::default());
    let installed = install_package(package, &storage, &place, &CopyOptions::default()).await;
    installed.map(drop).map_err(|error| error.to_string())
}

fn layer_types(package: &ForeignPackage) -> Vec<String> {
    let Manifest::Image { layers, .. } = package.images()[0].root.parse().unwrap() else {
        panic!("an image manifest")
    };
    layers.into_iter().map(|layer| layer.media_type).collect()
}
