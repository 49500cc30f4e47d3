//! Malicious files are rejected with a reason or read correctly. Nothing is written outside the
//! target, and memory stays bounded.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod archives;
mod sample;

use std::io::{ErrorKind, Write as _};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use compass_bundle::document::BundleKind;
use compass_bundle::{
    Bundle, BundleSource, Error, ForeignPackage, LocalFile, Package, VerifyOptions, WriteOptions,
    unpack, write,
};
use compass_registry::NoProgress;
use compass_registry::testing::random_bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio_tar::EntryType;

use archives::{entry, file, gzip, linked, peak, tar};

struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir(world.path("target")).unwrap();
        std::fs::write(world.path("precious"), "mine").unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn put(&self, bytes: &[u8]) -> PathBuf {
        let path = self.path("hostile.tar.gz");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Opens, verifies and unpacks a file; returns the result of unpacking.
    async fn try_all(&self, bytes: &[u8]) -> Result<Vec<PathBuf>, String> {
        let path = self.put(bytes);
        if let Ok(bundle) = Bundle::open(&path).await {
            drop(bundle.verify(&VerifyOptions::default()).await);
        }
        let source = Arc::new(LocalFile::open(&path).unwrap());
        if let Err(error) = ForeignPackage::read(source.clone()).await {
            assert!(!error.to_string().is_empty());
        }
        let unpacked = unpack(source, &self.path("target"), &NoProgress).await;
        assert_eq!(std::fs::read_to_string(self.path("precious")).unwrap(), "mine");
        let mut names: Vec<_> = std::fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["hostile.tar.gz", "precious", "target"], "nothing outside the target");
        let left: Vec<_> = std::fs::read_dir(self.path("target")).unwrap().collect();
        match unpacked {
            Ok(unpacked) => {
                assert_eq!(left.len(), unpacked.paths.len());
                Ok(unpacked.paths)
            }
            Err(error) => {
                assert!(left.is_empty(), "{error}: {left:?}");
                Err(error.to_string())
            }
        }
    }
}

#[tokio::test]
async fn unpack_outside_target_is_error() {
    let deep = format!("{}x", "a/".repeat(49));
    let inside = |name: &str| {
        let link = |to: &[u8]| linked(name.as_bytes(), EntryType::Symlink, 0, b"", to);
        [
            vec![file("../precious", b"x")],
            vec![file("a/../../precious", b"x")],
            vec![file("..", b"x")],
            vec![file("C:x", b"x")],
            vec![file("a\nb", b"x")],
            vec![link(b"../precious")],
            vec![link(b"/etc"), file(&format!("{name}/passwd"), b"x")],
            vec![linked(name.as_bytes(), EntryType::Link, 0, b"", b"../../precious")],
            vec![entry(name.as_bytes(), EntryType::Char, 0, b"")],
            vec![entry(name.as_bytes(), EntryType::Block, 0, b"")],
            vec![entry(name.as_bytes(), EntryType::Fifo, 0, b"")],
            vec![file(name, b"one"), file(name, b"two")],
            vec![file(name, b"one"), file(&format!("{name}/below"), b"two")],
        ]
    };
    for entries in inside("stem").into_iter().chain(inside(&deep[..deep.len() - 2])) {
        let world = World::new();
        for bytes in [tar(&entries), gzip(&tar(&entries)), gzip(&gzip(&tar(&entries)))] {
            let refused = world.try_all(&bytes).await;
            assert!(refused.is_err(), "{entries:?}");
        }
    }
}

#[tokio::test]
async fn unpack_unusual_names_stay_inside() {
    let below_link = linked(b"link", EntryType::Link, 0, b"", b"/etc/passwd");
    let entries = [
        file("/etc/passwd", b"x"),
        file("a//b", b"x"),
        file("a\\..\\b", b"x"),
        below_link,
        linked(b"a/soft", EntryType::Symlink, 0, b"", b"../etc/passwd"),
        entry(b"\xd6\xd0.yaml", EntryType::Regular, 1, b"x"),
    ];
    let world = World::new();
    let unpacked = world.try_all(&tar(&entries)).await.unwrap();
    assert_eq!(unpacked.len(), 5, "{unpacked:?}");
    for name in ["etc/passwd", "a/b", "a\\..\\b", "link", "a/soft"] {
        let path = world.path("target").join(name);
        assert!(path.symlink_metadata().unwrap().is_file(), "{name}");
        assert_eq!(std::fs::read(path).unwrap(), b"x");
    }
    let name = std::ffi::OsStr::from_bytes(b"\xd6\xd0.yaml");
    assert_eq!(std::fs::read(world.path("target").join(name)).unwrap(), b"x");
}

#[tokio::test]
async fn truncated_or_wrong_size_is_error() {
    let whole = tar(&[file("stem/a.yaml", &[7; 3000]), file("stem/b", &random_bytes(1, 4000))]);
    let compressed = gzip(&whole);
    let mut bad = Vec::new();
    for cut in [1, 10, 100, 511, 513, 1500, 3000, 5000, 7000] {
        bad.push(whole[..whole.len().saturating_sub(1024 + cut)].to_vec());
        bad.push(compressed[..compressed.len().saturating_sub(cut)].to_vec());
    }
    let mut wrong_crc = compressed.clone();
    let at = wrong_crc.len() - 6;
    wrong_crc[at] ^= 1;
    bad.push(wrong_crc);
    let mut garbage = compressed.clone();
    garbage.extend_from_slice(b"and more that is not gzip");
    bad.push(garbage);
    bad.push(entry(b"stem/huge", EntryType::Regular, 1 << 40, b"little"));
    bad.push(tar(&[entry(b"stem/huge", EntryType::Regular, u64::MAX >> 2, b"little")]));
    bad.push(Vec::new());
    bad.push(random_bytes(3, 5000));
    bad.push(gzip(&random_bytes(4, 5000)));
    bad.push(gzip(&gzip(&gzip(&gzip(&whole)))));
    for (number, bytes) in bad.iter().enumerate() {
        let world = World::new();
        let refused = world.try_all(bytes).await;
        // A plain archive is valid without its last blocks of zeros.
        let is_whole = refused.as_ref().is_ok_and(|paths| {
            paths.iter().all(|path| path.join("b").metadata().is_ok_and(|b| b.len() == 4000))
        });
        assert!(refused.is_err() || is_whole, "case {number} of {}", bad.len());
    }
}

#[tokio::test]
async fn several_members_and_unusual_names_are_read() {
    let whole = tar(&[file("stem/a", b"one"), file("stem/A", b"two"), file("stem/\u{4e2d}", b"x")]);
    let (one, other) = whole.split_at(700);
    let bytes = [gzip(one), gzip(other)].concat();
    let world = World::new();
    let paths = world.try_all(&bytes).await.unwrap();
    assert_eq!(std::fs::read(paths[0].join("a")).unwrap(), b"one");
    assert_eq!(std::fs::read(paths[0].join("A")).unwrap(), b"two");

    // A name that is longer than file systems support.
    let long = format!("stem/{}", "x".repeat(5000));
    let entries = [
        entry(b"././@LongLink", EntryType::GNULongName, long.len() as u64, long.as_bytes()),
        file("short", b"x"),
    ];
    assert!(World::new().try_all(&tar(&entries)).await.is_err());
}

#[tokio::test]
async fn high_compression_ratio_uses_little_memory() {
    let zeros = || {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        let name = entry(b"././@LongLink", EntryType::GNULongName, 1 << 30, b"");
        gzip.write_all(&name).unwrap();
        let block = vec![0; 1 << 20];
        (0..1024).for_each(|_| gzip.write_all(&block).unwrap());
        gzip.finish().unwrap()
    };
    let plain = {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        let block = vec![0; 1 << 20];
        (0..1024).for_each(|_| gzip.write_all(&block).unwrap());
        gzip.finish().unwrap()
    };
    let extended = {
        let mut header = entry(b"pax", EntryType::XHeader, 1 << 30, b"");
        header.extend(vec![b'9'; 8 << 20]);
        gzip(&header)
    };
    let before = peak();
    for bytes in [zeros(), plain, extended] {
        assert!(World::new().try_all(&bytes).await.is_err());
    }
    // The kernel updates the peak with a delay, so that it may even decrease.
    let more = peak().saturating_sub(before);
    assert!(more < 100 << 20, "{more} bytes");
}

#[tokio::test]
async fn nested_gzip_bomb_is_error() {
    let header = entry(b"gpu/zeros", EntryType::Regular, 90 * (16 << 20), b"");
    let zeros = gzip(&vec![0; 16 << 20]).repeat(90);
    let members = [gzip(&header), zeros, gzip(&[0; 1024])].concat();
    let told = World::new().try_all(&gzip(&members)).await.unwrap_err();
    assert!(told.contains("its decompressed size exceeds the maximum ratio of gzip"), "{told}");
}

/// The uncompressed tar of a valid bundle, in which a test can change anything.
async fn good(directory: &Path) -> Vec<u8> {
    let (storage, references) =
        sample::store(&[vec![random_bytes(1, 70_000)], vec![random_bytes(2, 9_000)]]).await;
    let plan = sample::plan(&storage, &references, BundleKind::Plugin, false).await;
    let options = WriteOptions::default();
    let written = write(&plan, Arc::new(storage), directory, &options).await.unwrap();
    std::fs::read(&written.path).unwrap()
}

/// Replaces text of the document in a bundle that fits into one stored block.
fn replace(bundle: &[u8], from: &str, to: &str) -> Option<Vec<u8>> {
    assert_eq!(from.len(), to.len(), "offsets stay");
    let at = bundle.windows(from.len()).position(|window| window == from.as_bytes())?;
    let mut changed = bundle.to_vec();
    changed[at..at + from.len()].copy_from_slice(to.as_bytes());
    Some(changed)
}

#[tokio::test]
async fn inconsistent_document_is_error() {
    let world = World::new();
    let bundles = tempfile::tempdir().unwrap();
    let bundle = good(bundles.path()).await;
    let document = {
        let path = world.put(&bundle);
        Bundle::open(&path).await.unwrap().document().clone()
    };
    let offset = document.files[1].image.as_ref().unwrap().blobs[1].offset.to_string();
    let size = document.files[1].size.to_string();
    let nines = |text: &str| "9".repeat(text.len());
    let ones = |text: &str| "1".repeat(text.len());
    let changes = [
        (format!("\"offset\":{offset}"), format!("\"offset\":{}", nines(&offset))),
        (format!("\"offset\":{offset}"), format!("\"offset\":{}", ones(&offset))),
        (format!("\"size\":{size}"), format!("\"size\":{}", nines(&size))),
        (format!("\"size\":{size}"), format!("\"size\":{}", ones(&size))),
        ("gpu.yaml".to_owned(), "../x.yml".to_owned()),
        ("\"name\":\"gpu\"".to_owned(), "\"name\":\"../\"".to_owned()),
        ("\"formatVersion\":1".to_owned(), "\"formatVersion\":7".to_owned()),
        ("\"kind\":\"plugin\"".to_owned(), "\"kind\":\"hotfix\"".to_owned()),
        ("\"version\":\"v0.1.0\"".to_owned(), "\"version\":\"v0/1.0\"".to_owned()),
    ];
    for (from, to) in changes {
        let changed = replace(&bundle, &from, &to).expect(&from);
        let path = world.put(&changed);
        let refused = Bundle::open(&path).await;
        assert!(refused.is_err(), "{from} -> {to}");
        drop(world.try_all(&changed).await);
        std::fs::remove_dir_all(world.path("target")).unwrap();
        std::fs::create_dir(world.path("target")).unwrap();
    }
    for (number, length) in
        [0, 1, 9, 10, 15, 600, 3000, bundle.len() / 2, bundle.len() - 1].into_iter().enumerate()
    {
        let path = world.put(&bundle[..length]);
        assert!(Bundle::open(&path).await.is_err(), "cut {number}");
    }
    let mut longer = bundle.clone();
    longer.extend_from_slice(b"more");
    let path = world.put(&longer);
    assert!(Bundle::open(&path).await.is_err());
}

/// A source that cannot be read.
#[derive(Debug)]
struct Unreadable;

#[async_trait]
impl BundleSource for Unreadable {
    fn name(&self) -> String {
        "far/away".to_owned()
    }

    fn size(&self) -> u64 {
        1 << 30
    }

    async fn read(&self, _: Range<u64>) -> Result<Bytes, Error> {
        let (path, source) = (PathBuf::from("far/away"), ErrorKind::TimedOut.into());
        Err(Error::Io { action: "read", path, source })
    }
}

#[tokio::test]
async fn package_type_depends_on_content() {
    let world = World::new();
    let bundles = tempfile::tempdir().unwrap();
    let bundle = good(bundles.path()).await;
    let open = async |bytes: &[u8]| {
        Package::read(Arc::new(LocalFile::open(&world.put(bytes)).unwrap())).await
    };
    assert!(matches!(open(&bundle).await, Ok(Package::Bundle(_))));
    let tar = tar(&[file("gpu/gpu.yaml", b"a: b\n")]);
    assert!(matches!(open(&tar).await, Ok(Package::Foreign(_))));
    for left in [1, 70_000] {
        let cut = open(&bundle[..bundle.len() - left]).await.unwrap_err().to_string();
        assert!(cut.contains("truncated"), "{cut}");
    }
    let other = open(&[&bundle[..10], b"no gzip"].concat()).await.unwrap_err().to_string();
    assert!(other.contains("it is truncated before bundle.json"), "{other}");
    let text = open(b"hello").await.unwrap_err().to_string();
    assert!(text.contains("it is not a tar archive"), "{text}");
    let unreadable = Package::read(Arc::new(Unreadable)).await.unwrap_err();
    assert!(matches!(unreadable, Error::Io { .. }), "{unreadable}");
}
