//! The parts of an upload, and checksums.

use bytes::Bytes;
use md5::{Digest as _, Md5};

/// A part and its MD5, which is slow to compute without optimization.
pub(crate) struct Part {
    pub(crate) bytes: Bytes,
    pub(super) md5: [u8; 16],
}

impl Part {
    pub(crate) fn new(bytes: Bytes) -> Self {
        let md5 = Md5::digest(&bytes).into();
        Self { bytes, md5 }
    }
}

pub(super) fn crc32c(bytes: &[u8]) -> Vec<u8> {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    u32::try_from(crc).unwrap().to_be_bytes().to_vec()
}

pub(super) fn crc64(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Xz, bytes)
}

pub(super) fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
