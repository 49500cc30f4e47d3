//! Builders for tar and image archives with arbitrary content.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::io::Write as _;
use std::sync::Arc;

use compass_bundle::{ForeignImage, ForeignPackage, LocalFile, unpack};
use compass_registry::testing::random_bytes;
use compass_registry::{Digest, NoProgress};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio_tar::{EntryType, Header};

/// An entry with any name and declared size.
pub(crate) fn entry(name: &[u8], kind: EntryType, size: u64, content: &[u8]) -> Vec<u8> {
    linked(name, kind, size, content, b"")
}

pub(crate) fn linked(
    name: &[u8],
    kind: EntryType,
    size: u64,
    content: &[u8],
    link: &[u8],
) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..name.len().min(100)]
        .copy_from_slice(&name[..name.len().min(100)]);
    header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link);
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

pub(crate) fn file(name: &str, content: &[u8]) -> Vec<u8> {
    entry(name.as_bytes(), EntryType::Regular, content.len() as u64, content)
}

pub(crate) fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.extend([0; 1024]);
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// The results of opening and unpacking a file.
pub(crate) struct Attempt {
    pub(crate) package: Result<ForeignPackage, String>,
    pub(crate) unpacked: Result<(), String>,
}

impl Attempt {
    pub(crate) async fn of(bytes: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("old.tar.gz");
        std::fs::write(&path, bytes).unwrap();
        let source = Arc::new(LocalFile::open(&path).unwrap());
        let package = ForeignPackage::read(source.clone()).await.map_err(|error| error.to_string());
        let target = directory.path().join("target");
        let unpacked = unpack(source, &target, &NoProgress).await;
        let unpacked = unpacked.map(drop).map_err(|error| error.to_string());
        Self { package, unpacked }
    }

    /// The reasons for which both operations failed.
    pub(crate) fn reasons(&self) -> [&str; 2] {
        let scanned = self.package.as_ref().err();
        let unpacked = self.unpacked.as_ref().err();
        [scanned.expect("an error of opening"), unpacked.expect("an error of unpacking")]
    }
}

pub(crate) async fn scan(bytes: &[u8]) -> ForeignPackage {
    Attempt::of(bytes).await.package.unwrap()
}

pub(crate) async fn refusal(bytes: &[u8]) -> String {
    Attempt::of(bytes).await.package.expect_err("refused")
}

/// A layer: an uncompressed tar archive.
pub(crate) fn layer() -> Vec<u8> {
    tar(&[file("etc/hostname", b"here\n"), file("blob", &random_bytes(5, 3000))])
}

pub(crate) fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
    json!({"rootfs": {"type": "layers", "diff_ids": ids}}).to_string().into_bytes()
}

/// The output of `docker save`, with these names for configuration and layer.
pub(crate) fn saved_as(config: (&str, &[u8]), layer: (&str, &[u8])) -> Vec<u8> {
    let manifest = json!([{
        "Config": config.0, "RepoTags": ["h.example/release/gpu:v1"], "Layers": [layer.0],
    }]);
    tar(&[
        file(layer.0, layer.1),
        file(config.0, config.1),
        file("manifest.json", manifest.to_string().as_bytes()),
    ])
}

pub(crate) fn saved() -> Vec<u8> {
    let (layer, config) = (layer(), config(&[layer()]));
    let name = format!("{}.json", Digest::of(&config).hex());
    saved_as((&name, &config), (&format!("{}/layer.tar", "0a".repeat(32)), &layer))
}

pub(crate) const ARCHIVE: &str = "gpu/gpu-one-v1-image.tar.gz";

pub(crate) fn package(archive: &[u8]) -> Vec<u8> {
    tar(&[file("gpu/gpu.yaml", b"a: b\n"), file(ARCHIVE, archive)])
}

pub(crate) fn problems(package: &ForeignPackage) -> Vec<String> {
    package.images().iter().flat_map(|image: &ForeignImage| image.problems.clone()).collect()
}

/// Peak memory of this process in bytes.
pub(crate) fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
