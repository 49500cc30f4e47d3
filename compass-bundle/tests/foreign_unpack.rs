//! Unpacking and comparison of foreign packages.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod archives;

use std::sync::Arc;

use archives::{
    Attempt, config, entry, file, gzip, layer, linked, package, saved, saved_as, scan, tar,
};
use compass_bundle::{LocalFile, Package, compare, unpack};
use compass_registry::{Digest, NoProgress};
use tokio_tar::EntryType;

#[tokio::test]
async fn unpack_colons_and_empty_components() {
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
        Attempt::of(&tar(&[file(name, b"a: b\n")])).await.unpacked.unwrap();
    }
    for name in ["./../a", "a/./../../b"] {
        let refused = Attempt::of(&tar(&[file(name, b"a: b\n")])).await.unpacked.unwrap_err();
        assert!(refused.contains("points outside"), "{refused}");
    }
}

#[tokio::test]
async fn unsafe_entries_are_problems() {
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
    let no_file = "it is a link or a device, which bundles do not contain";
    assert_eq!(
        found,
        [
            ("C:/top.yaml", "it has a name that points outside on other systems"),
            ("p/../../out.yaml", "it points outside"),
            ("p/hard", no_file),
            ("p/pipe", no_file),
            ("p/soft", no_file),
        ]
    );
    assert!(package.require_whole().is_err());
    assert_eq!(scan(&saved()).await.problems(), []);
}

#[tokio::test]
async fn conflicting_paths_are_damage() {
    let long = format!("p/{}\0", "x".repeat(300));
    let size = long.len() as u64;
    let long = entry(b"././@LongLink", EntryType::GNULongName, size, long.as_bytes());
    for (entries, about) in [
        (&[file("p/x", b"a"), file("p/x/y.yaml", b"b")][..], "`p/x/y.yaml` is below a file"),
        (&[file("p/x/y.yaml", b"b"), file("p/x", b"a")], "`p/x` exists twice"),
        (&[long, file("p/x", b"a")], "has a name that is too long"),
    ] {
        let refused = Attempt::of(&tar(entries)).await.unpacked.unwrap_err();
        assert!(refused.contains(about), "{refused}");
    }
}

#[tokio::test]
async fn compare_ignores_top_level_directory() {
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

    // Another layer makes another image.
    let other = layer().into_iter().map(|byte| byte ^ 1).collect::<Vec<u8>>();
    let config = config(std::slice::from_ref(&other));
    let name = format!("{}.json", Digest::of(&config).hex());
    let other = package(&saved_as((&name, &config), ("0b/layer.tar", &other)));
    let changed = compare(&old, &compared(&other).await).await.unwrap();
    let [image] = &changed.images[..] else { panic!("one image: {changed:?}") };
    assert_eq!((image.shared.len(), image.removed.len(), image.added.len()), (0, 1, 1));
    assert_eq!(image.configs.as_ref().unwrap().1, config);
}
