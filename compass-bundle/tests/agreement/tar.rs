//! Tar archives in the styles of several tools, and compressed files.

use std::io::Write as _;

use super::choices::Choices;

/// An entry of a tar archive.
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: u8,
    pub(crate) link: Vec<u8>,
    pub(crate) content: Vec<u8>,
}

pub(crate) fn file(path: impl Into<Vec<u8>>, content: impl Into<Vec<u8>>) -> Entry {
    Entry { path: path.into(), kind: b'0', link: Vec::new(), content: content.into() }
}

pub(crate) fn link(kind: u8, path: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Entry {
    Entry { path: path.into(), kind, link: target.into(), content: Vec::new() }
}

fn header(path: &[u8], kind: u8, size: usize, link: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..path.len().min(100)].copy_from_slice(&path[..path.len().min(100)]);
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[156] = kind;
    header[157..157 + link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
    header[257..265].copy_from_slice(b"ustar  \0");
    sum(&mut header);
    header
}

fn sum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn block(bytes: &mut Vec<u8>, content: &[u8]) {
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
}

/// Formats a record of an extended header.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [format!(" {key}=").as_bytes(), value, b"\n"].concat();
    let fits = |length: &usize| length.to_string().len() + rest.len() == *length;
    let length = (1..9999).find(fits).unwrap_or_default();
    [length.to_string().as_bytes(), &rest[..]].concat()
}

/// The style of entries.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    /// Whether long names use the POSIX format instead of that of GNU tar.
    is_posix: bool,
    before_paths: &'static str,
    has_label: bool,
    has_global_header: bool,
    padding: usize,
}

impl Style {
    pub(crate) fn any(choices: &mut Choices) -> Self {
        Self {
            is_posix: choices.once_in(2),
            before_paths: *choices.pick(&["", "", "", "./", "/"]),
            has_label: choices.once_in(12),
            has_global_header: choices.once_in(8),
            padding: *choices.pick(&[1024, 1024, 10_240, 512]),
        }
    }

    pub(crate) fn plain() -> Self {
        Self {
            is_posix: false,
            before_paths: "",
            has_label: false,
            has_global_header: false,
            padding: 1024,
        }
    }
}

pub(crate) fn tar(entries: &[Entry], style: Style) -> Vec<u8> {
    let mut bytes = Vec::new();
    if style.has_label {
        let mut label = header(b"images of may", b'V', 0, b"");
        label[124..136].fill(0);
        sum(&mut label);
        bytes.extend(label);
    }
    if style.has_global_header {
        let comment = record("comment", b"5ab0c3d1");
        bytes.extend(header(b"pax_global_header", b'g', comment.len(), b""));
        block(&mut bytes, &comment);
    }
    for entry in entries {
        let path = [style.before_paths.as_bytes(), &entry.path].concat();
        for (name, key, kind) in [(&path, "path", b'L'), (&entry.link, "linkpath", b'K')] {
            if name.len() <= 100 {
                continue;
            }
            let (kind, content) = match style.is_posix {
                true => (b'x', record(key, name)),
                false => (kind, [&name[..], b"\0"].concat()),
            };
            let mut long = header(b"././@LongLink", kind, content.len(), b"");
            if style.is_posix {
                long[257..265].copy_from_slice(b"ustar\x0000");
                sum(&mut long);
            }
            bytes.extend(long);
            block(&mut bytes, &content);
        }
        bytes.extend(header(&path, entry.kind, entry.content.len(), &entry.link));
        block(&mut bytes, &entry.content);
    }
    bytes.extend(vec![0; style.padding.max(1024)]);
    bytes
}

/// The compression of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    /// Stored blocks as in bundles, in one or two gzip members.
    Stored,
    Zstd,
    Xz,
    Bzip2,
}

impl Packing {
    pub(crate) const ALL: [Self; 6] =
        [Self::Plain, Self::Gzip, Self::Stored, Self::Zstd, Self::Xz, Self::Bzip2];

    pub(crate) fn pack(self, content: &[u8], choices: &mut Choices) -> Vec<u8> {
        match self {
            Self::Plain => content.to_vec(),
            Self::Gzip => gzip(content, 6),
            Self::Stored => {
                let (first, rest) = content.split_at(choices.below(content.len() + 1));
                if rest.is_empty() { stored(first) } else { [stored(first), stored(rest)].concat() }
            }
            Self::Zstd => zstd::encode_all(content, 3).unwrap(),
            Self::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Self::Bzip2 => {
                let mut encoder =
                    bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    pub(crate) fn end(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip | Self::Stored => ".gz",
            Self::Zstd => ".zst",
            Self::Xz => ".xz",
            Self::Bzip2 => ".bz2",
        }
    }
}

fn gzip(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A gzip member of stored blocks with the header of bundles.
fn stored(content: &[u8]) -> Vec<u8> {
    let mut bytes = gzip(content, 0);
    bytes[..10].copy_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
    bytes
}
