//! Checksums of parts and objects, as S3 and OSS report them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc64Xz};
use md5::{Digest as _, Md5};

/// The CRC-64 of OSS (ECMA-182, reflected), also known as CRC-64/XZ.
const OSS_CRC: crc_fast::CrcAlgorithm = Crc64Xz;

/// The checksums of a part's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartChecksum {
    pub(super) size: u64,
    pub(super) md5: [u8; 16],
    pub(super) crc32c: u32,
    pub(super) crc64: u64,
}

/// Computes the checksums of a part.
pub(super) struct PartHasher {
    size: u64,
    md5: Md5,
    crc32c: crc_fast::Digest,
    crc64: crc_fast::Digest,
}

impl Default for PartHasher {
    fn default() -> Self {
        Self {
            size: 0,
            md5: Md5::new(),
            crc32c: crc_fast::Digest::new(Crc32Iscsi),
            crc64: crc_fast::Digest::new(OSS_CRC),
        }
    }
}

impl PartHasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.md5.update(bytes);
        self.crc32c.update(bytes);
        self.crc64.update(bytes);
    }

    pub(super) fn finish(self) -> PartChecksum {
        PartChecksum {
            size: self.size,
            md5: self.md5.finalize().into(),
            crc32c: u32::try_from(self.crc32c.finalize()).unwrap_or_default(),
            crc64: self.crc64.finalize(),
        }
    }
}

impl PartChecksum {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut hasher = PartHasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The CRC-32C in the form of `x-amz-checksum-crc32c`.
    pub(super) fn crc32c_base64(&self) -> String {
        STANDARD.encode(self.crc32c.to_be_bytes())
    }

    /// The MD5 in the form of `Content-MD5`.
    pub(super) fn md5_base64(&self) -> String {
        STANDARD.encode(self.md5)
    }

    /// Compares the checksums with those of a storage.
    pub(super) fn compare(&self, stored: &StoredChecksum) -> Comparison {
        if stored.size.is_some_and(|size| size != self.size) {
            return Comparison::Different;
        }
        let crc64 = stored.crc64.map(|crc| crc == self.crc64);
        let crc32c = stored.crc32c.as_ref().map(|crc| *crc == self.crc32c_base64());
        let md5 = stored.md5().map(|md5| md5.eq_ignore_ascii_case(&hex(&self.md5)));
        match crc64.or(crc32c).or(md5) {
            Some(true) => Comparison::Equal,
            Some(false) => Comparison::Different,
            None => Comparison::Unknown,
        }
    }
}

/// The checksums that a storage reports for a part or an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct StoredChecksum {
    pub(super) size: Option<u64>,
    /// The entity tag without quotes.
    pub(super) etag: String,
    /// Whether the storage encrypts with keys of its own, so that entity tags are not MD5 sums.
    pub(super) has_opaque_etag: bool,
    pub(super) crc32c: Option<String>,
    pub(super) crc64: Option<u64>,
}

impl StoredChecksum {
    /// The entity tag, if it is the MD5 of the bytes.
    fn md5(&self) -> Option<&str> {
        let is_md5 =
            self.etag.len() == 32 && self.etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_md5 && !self.has_opaque_etag).then_some(self.etag.as_str())
    }
}

/// The result of a comparison of checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Different,
    /// Both sides have no checksum of the same kind.
    Unknown,
}

/// The checksums of an object, from those of its parts in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ObjectChecksum {
    size: u64,
    parts: u64,
    md5s: Vec<u8>,
    crc32cs: Vec<u8>,
    /// The CRC-32C of all bytes.
    crc32c: u64,
    crc64: u64,
}

impl ObjectChecksum {
    pub(super) fn add(&mut self, part: &PartChecksum) {
        let combine = |algorithm, whole, next| match self.size {
            0 => next,
            _ => crc_fast::checksum_combine(algorithm, whole, next, part.size),
        };
        self.crc64 = combine(OSS_CRC, self.crc64, part.crc64);
        self.crc32c = combine(Crc32Iscsi, self.crc32c, part.crc32c.into());
        self.size += part.size;
        self.parts += 1;
        self.md5s.extend_from_slice(&part.md5);
        self.crc32cs.extend_from_slice(&part.crc32c.to_be_bytes());
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Compares the checksums with those of an object in a storage, which may have other parts.
    ///
    /// The result is [`Comparison::Unknown`] if the storage's checksum depends on its parts and
    /// differs: the same bytes may have been uploaded in other parts.
    pub(super) fn compare(&self, stored: &StoredChecksum) -> Comparison {
        if stored.size.is_some_and(|size| size != self.size) {
            return Comparison::Different;
        }
        if let Some(crc64) = stored.crc64 {
            return if crc64 == self.crc64 { Comparison::Equal } else { Comparison::Different };
        }
        if self.parts == 1
            && let Some(md5) = stored.md5()
        {
            let is_equal = md5.eq_ignore_ascii_case(&hex(&self.md5s));
            return if is_equal { Comparison::Equal } else { Comparison::Different };
        }
        // A checksum of all bytes has no number of parts behind it.
        if let Some(crc32c) = stored.crc32c.as_ref().filter(|crc32c| !crc32c.contains('-')) {
            let own = u32::try_from(self.crc32c).unwrap_or_default();
            let is_equal = *crc32c == STANDARD.encode(own.to_be_bytes());
            return if is_equal { Comparison::Equal } else { Comparison::Different };
        }
        let suffix = format!("-{}", self.parts);
        let etag = hex(&Md5::digest(&self.md5s)) + &suffix;
        let crc = crc_fast::checksum(Crc32Iscsi, &self.crc32cs);
        let crc = u32::try_from(crc).unwrap_or_default();
        let crc32c = STANDARD.encode(crc.to_be_bytes()) + &suffix;
        let has_crc = stored.crc32c.as_ref() == Some(&crc32c);
        let has_etag = !stored.has_opaque_etag && stored.etag.eq_ignore_ascii_case(&etag);
        if has_crc || has_etag { Comparison::Equal } else { Comparison::Unknown }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(etag: &str) -> StoredChecksum {
        StoredChecksum { etag: etag.to_owned(), ..StoredChecksum::default() }
    }

    #[test]
    fn checksums_equal_published_values() {
        // Check values of the catalogue of CRC algorithms, for the text 123456789.
        let sum = PartChecksum::of(b"123456789");
        assert_eq!((sum.crc32c, sum.crc64), (0xe306_9283, 0x995d_c9bb_df19_39fa));
        assert_eq!(hex(&sum.md5), "25f9e794323b453885f5181f1b624d0b");
        assert_eq!(sum.crc32c_base64(), "4waSgw==");
    }

    #[test]
    fn compare_part_prefers_crc() {
        let sum = PartChecksum::of(b"123456789");
        assert_eq!(sum.compare(&of("25F9E794323B453885F5181F1B624D0B")), Comparison::Equal);
        assert_eq!(sum.compare(&of("25f9e794323b453885f5181f1b624d00")), Comparison::Different);
        assert_eq!(sum.compare(&of("opaque")), Comparison::Unknown);
        let encrypted =
            StoredChecksum { has_opaque_etag: true, ..of("25f9e794323b453885f5181f1b624d00") };
        assert_eq!(sum.compare(&encrypted), Comparison::Unknown);
        let crc32c = Some("4waSgw==".to_owned());
        assert_eq!(sum.compare(&StoredChecksum { crc32c, ..encrypted }), Comparison::Equal);
        let short = StoredChecksum { size: Some(8), crc64: Some(sum.crc64), ..of("") };
        assert_eq!(sum.compare(&short), Comparison::Different);
    }

    #[test]
    fn compare_object_combines_parts() {
        let mut object = ObjectChecksum::default();
        for part in [&b"1234"[..], b"56789"] {
            object.add(&PartChecksum::of(part));
        }
        let crc64 = StoredChecksum { crc64: Some(0x995d_c9bb_df19_39fa), ..of("") };
        assert_eq!(object.compare(&crc64), Comparison::Equal);
        for (crc32c, expected) in
            [("4waSgw==", Comparison::Equal), ("4waSgg==", Comparison::Different)]
        {
            let stored = StoredChecksum { crc32c: Some(crc32c.to_owned()), ..of("0-2") };
            assert_eq!(object.compare(&stored), expected);
        }
        let md5s = [Md5::digest(b"1234"), Md5::digest(b"56789")].concat();
        let etag = format!("{}-2", hex(&Md5::digest(&md5s)));
        assert_eq!(object.compare(&of(&etag)), Comparison::Equal);
        assert_eq!(object.compare(&of("0-2")), Comparison::Unknown);
        let short = StoredChecksum { size: Some(8), ..of(&etag) };
        assert_eq!(object.compare(&short), Comparison::Different);
    }
}
