//! Archives made by hand, with any content and any claims.
#![allow(dead_code, reason = "each test program uses what it needs")]

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio_tar::{EntryType, Header};

/// An entry as bytes, with any name and any claimed size.
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
