//! Compression formats, told apart by the first bytes of a file.

use std::fmt;

/// A compression format that is read here.
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

/// What the first bytes of a file say about its compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// It is not compressed with any format that is known here.
    No,
    /// A decoder may accept it, although no compressor writes such a beginning.
    Maybe(Compression),
    Yes(Compression),
    /// It is compressed with this format, which is not read here.
    Unsupported(&'static str),
}

/// The beginnings of formats that are not read here.
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

/// Bytes of the smallest file of each format, which a text that only begins like one is not.
const MIN_GZIP_SIZE: usize = 18;
const MIN_ZSTD_SIZE: usize = 9;
const MIN_XZ_SIZE: usize = 32;

impl Compression {
    /// Judges the beginning of a file, of which `head` has at least 32 bytes unless it is shorter.
    pub(super) fn sniff(head: &[u8]) -> Match {
        let sure = |size: usize, compression| match head.len() >= size {
            true => Match::Yes(compression),
            false => Match::Maybe(compression),
        };
        match head {
            // The method, flags that are not reserved, and the levels that compressors note.
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

    /// Whether a file of several parts, one behind the other, may go on with this byte.
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

/// The first block of bzip2, or its end where there is none.
fn is_bzip2_block(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x31\x41\x59\x26\x53\x59") || bytes.starts_with(b"\x17\x72\x45\x38\x50\x90")
}

/// The format before .xz has no magic number: the usual properties, and a size that is unknown.
fn is_lzma_alone(head: &[u8]) -> bool {
    head.starts_with(&[0x5d, 0, 0]) && head.get(5..13) == Some(&[0xff; 8])
}

/// How file names end that are those of tar archives, whatever they are compressed with, in small
/// letters.
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

/// Whether a file is named as a tar archive. macOS puts files with `._` before the name of another
/// file beside that: they hold its attributes.
pub(super) fn has_tar_suffix(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    !name.starts_with("._") && TAR_SUFFIXES.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sniff_beginnings_give_their_formats() {
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
    fn archive_names_are_told_by_their_end() {
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
