//! Compression formats, detected from the first bytes of a file.

use std::fmt;

/// A supported compression format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The .xz file format 1.2.1.
    Xz,
    Bzip2,
}

/// The compression that the first bytes of a file indicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// Not compressed with a known format.
    No,
    /// The magic number matches, but the header is not one that compressors write.
    Maybe(Compression),
    Yes(Compression),
    /// Compressed with a known format that is not supported.
    Unsupported(&'static str),
}

/// Magic numbers of formats that are not supported.
const UNSUPPORTED: [(&[u8], &str); 8] = [
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"LZIP\x01", "lzip"),
    (b"\x1f\x9d\x90", "compress"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"PK\x03\x04", "zip"),
    (b"Rar!\x1a\x07", "RAR"),
    (b"\x89LZO\0\r\n\x1a\n", "lzop"),
];

/// Size of the smallest valid file of each format. A shorter file is more likely text.
const MIN_GZIP_SIZE: usize = 18;
const MIN_ZSTD_SIZE: usize = 9;
const MIN_XZ_SIZE: usize = 32;

impl Compression {
    /// Detects the format. `head` has at least 32 bytes unless the file is shorter.
    pub(super) fn sniff(head: &[u8]) -> Match {
        let sure = |size: usize, compression| match head.len() >= size {
            true => Match::Yes(compression),
            false => Match::Maybe(compression),
        };
        match head {
            // The deflate method, no reserved flags, and a level that compressors record.
            [0x1f, 0x8b, 8, 0..0x20, _, _, _, _, 0 | 2 | 4, ..] => sure(MIN_GZIP_SIZE, Self::Gzip),
            [0x1f, 0x8b, 8, 0..0x20, ..] => Match::Maybe(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                sure(MIN_ZSTD_SIZE, Self::Zstd)
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => sure(MIN_XZ_SIZE, Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] if is_bzip2_block(rest) => {
                Match::Yes(Self::Bzip2)
            }
            _ => match UNSUPPORTED.iter().find(|(magic, _)| head.starts_with(magic)) {
                Some((_, name)) => Match::Unsupported(name),
                None if is_lzma_alone(head) => Match::Unsupported("lzma"),
                None => Match::No,
            },
        }
    }

    /// Whether another member, frame or stream may start with this byte.
    pub(super) fn may_start_member(self, first: u8) -> bool {
        match self {
            Self::Gzip => first == 0x1f,
            Self::Zstd => matches!(first, 0x28 | 0x50..=0x5f),
            Self::Xz => first == 0xfd,
            Self::Bzip2 => first == b'B',
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        })
    }
}

/// The magic number of a bzip2 block, or of the end of an empty stream.
fn is_bzip2_block(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x31\x41\x59\x26\x53\x59") || bytes.starts_with(b"\x17\x72\x45\x38\x50\x90")
}

/// The format before .xz has no magic number: detect the default properties and an unknown size.
fn is_lzma_alone(head: &[u8]) -> bool {
    head.starts_with(&[0x5d, 0, 0]) && head.get(5..13) == Some(&[0xff; 8])
}

/// Suffixes of tar archives, in lower case, for all compressions.
const TAR_SUFFIXES: [&str; 17] = [
    ".tar",
    ".tar.gz",
    ".tgz",
    ".taz",
    ".tar.xz",
    ".txz",
    ".tar.bz2",
    ".tbz",
    ".tbz2",
    ".tar.zst",
    ".tar.zstd",
    ".tzst",
    ".tar.lz4",
    ".tar.lz",
    ".tar.lzma",
    ".tlz",
    ".tar.z",
];

/// Whether a file has the name of a tar archive. macOS stores attributes of a file in another file
/// with the prefix `._`, which is not an archive.
pub(super) fn has_tar_suffix(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    !name.starts_with("._") && TAR_SUFFIXES.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sniff_magic_number_returns_format() {
        let padded = |magic: &[u8]| [magic, &[0; 32]].concat();
        for (head, expected) in [
            (padded(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3]), Match::Yes(Compression::Gzip)),
            (padded(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 9, 3]), Match::Maybe(Compression::Gzip)),
            (padded(&[0x1f, 0x8b, 7]), Match::No),
            (padded(&[0x28, 0xb5, 0x2f, 0xfd]), Match::Yes(Compression::Zstd)),
            (padded(&[0x5e, 0x2a, 0x4d, 0x18]), Match::Yes(Compression::Zstd)),
            (vec![0x28, 0xb5, 0x2f, 0xfd], Match::Maybe(Compression::Zstd)),
            (padded(b"\xfd7zXZ\0"), Match::Yes(Compression::Xz)),
            (padded(b"BZh91AY&SY"), Match::Yes(Compression::Bzip2)),
            (padded(b"BZh9 is a text"), Match::No),
            (padded(b"\x04\x22\x4d\x18"), Match::Unsupported("lz4")),
            (padded(b"PK\x03\x04"), Match::Unsupported("zip")),
            (padded(b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff"), Match::Unsupported("lzma")),
            (padded(b"metadata: {name: gpu}"), Match::No),
            (Vec::new(), Match::No),
        ] {
            assert_eq!(Compression::sniff(&head), expected, "{head:?}");
        }
    }

    #[test]
    fn tar_suffix_is_detected() {
        for (path, expected) in [
            ("a/gpu-image.tar.gz", true),
            ("a/b.tar", true),
            ("a/b.tar.zst", true),
            ("a/b.tgz", true),
            ("a/b.tar.Z", true),
            ("a/B.TAR.GZ", true),
            ("a/._b.tar.gz", false),
            ("a/b.gz", false),
            ("a.tar/b", false),
            ("", false),
        ] {
            assert_eq!(has_tar_suffix(path), expected, "{path}");
        }
    }
}
