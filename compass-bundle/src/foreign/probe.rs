//! Search for images in a nested tar archive that is not indexed.

use super::compression::has_tar_suffix;
use super::decompress::is_tar;
use super::entry_path::SEPARATORS;

/// Maximum bytes of a metadata file that are searched.
const MAX_TEXT: usize = 256 << 10;

const BLOCK: usize = 512;

/// Maximum nesting of archives that are searched.
const MAX_DEPTH: usize = 8;

/// The images or archives that a nested archive contains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NestedContent {
    #[default]
    Nothing,
    /// Compressed archives, which are not searched.
    Archives,
    /// An image, in a directory or in an archive.
    Image,
}

/// Searches a tar archive for images as its bytes are pushed.
#[derive(Debug, Default)]
pub(super) struct Probe {
    state: State,
    depth: usize,
    is_tar: bool,
    inside: NestedContent,
}

#[derive(Debug)]
enum State {
    /// The next header, as far as it was received.
    Header(Vec<u8>),
    /// Content of a metadata file, and the number of bytes left.
    Text(Text, Vec<u8>, u64),
    /// Content of a possible archive, and the number of bytes left.
    Inner(Box<Inner>, u64),
    End,
}

#[derive(Debug)]
struct Inner {
    probe: Probe,
    is_named_archive: bool,
}

#[derive(Debug, Clone, Copy)]
enum Text {
    /// `manifest.json` of `docker save`.
    Docker,
    /// `index.json` of an OCI layout.
    Index,
}

impl Default for State {
    fn default() -> Self {
        Self::Header(Vec::with_capacity(BLOCK))
    }
}

impl Probe {
    pub(super) fn is_tar(&self) -> bool {
        self.is_tar
    }

    /// Returns the images or archives in the bytes so far.
    pub(super) fn inside(&self) -> NestedContent {
        self.inside
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !matches!(self.state, State::End) {
            bytes = self.step(bytes);
        }
    }

    /// Consumes some bytes and returns the rest.
    fn step<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (rest, is_over) = match &mut self.state {
            State::Header(header) => {
                let (new, rest) = bytes.split_at(bytes.len().min(BLOCK - header.len()));
                header.extend_from_slice(new);
                if header.len() == BLOCK {
                    let header = std::mem::take(header);
                    self.state = self.after_header(&header);
                }
                return rest;
            }
            State::Text(kind, text, left) => {
                let (new, rest) = split(bytes, left);
                let room = MAX_TEXT - text.len();
                text.extend_from_slice(&new[..new.len().min(room)]);
                if *left == 0 && kind.has_images(text) {
                    self.inside = NestedContent::Image;
                }
                (rest, *left == 0)
            }
            State::Inner(inner, left) => {
                let (new, rest) = split(bytes, left);
                inner.probe.push(new);
                if *left == 0 {
                    self.inside = self.inside.max(inner.found());
                }
                (rest, *left == 0)
            }
            State::End => return &[],
        };
        if is_over {
            self.state = State::default();
        }
        rest
    }

    fn after_header(&mut self, header: &[u8]) -> State {
        if !is_tar(header) {
            return State::End;
        }
        self.is_tar = true;
        if self.depth > MAX_DEPTH {
            self.inside = NestedContent::Archives;
            return State::End;
        }
        let header = tokio_tar::Header::from_byte_slice(header);
        let size = header.raw_entry_size().unwrap_or_default();
        let Some(blocks) = size.checked_next_multiple_of(BLOCK as u64) else { return State::End };
        let path = header.path_bytes();
        let path = String::from_utf8_lossy(&path);
        match path.rsplit(SEPARATORS).next().unwrap_or_default() {
            _ if blocks == 0 => State::default(),
            "manifest.json" => State::Text(Text::Docker, Vec::new(), blocks),
            "index.json" => State::Text(Text::Index, Vec::new(), blocks),
            _ => {
                let probe = Self { depth: self.depth + 1, ..Self::default() };
                let is_named_archive = has_tar_suffix(&path);
                State::Inner(Box::new(Inner { probe, is_named_archive }), blocks)
            }
        }
    }
}

impl Inner {
    fn found(&self) -> NestedContent {
        match self.probe.is_tar {
            true => self.probe.inside,
            false if self.is_named_archive => NestedContent::Archives,
            false => NestedContent::Nothing,
        }
    }
}

fn split<'b>(bytes: &'b [u8], left: &mut u64) -> (&'b [u8], &'b [u8]) {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    *left -= count as u64;
    bytes.split_at(count)
}

impl Text {
    fn has_images(self, text: &[u8]) -> bool {
        let has = |word: &str| text.windows(word.len()).any(|bytes| bytes == word.as_bytes());
        match self {
            Self::Docker => has("\"Config\"") && has("\"Layers\""),
            Self::Index => has("\"manifests\"") && has("\"digest\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, content: &[u8]) -> Vec<u8> {
        let mut header = tokio_tar::Header::new_ustar();
        header.set_path(path).unwrap();
        header.set_size(content.len() as u64);
        header.set_cksum();
        let mut bytes = [header.as_bytes(), content].concat();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
        [entries.concat(), vec![0; 1024]].concat()
    }

    #[test]
    fn probe_finds_images_for_any_chunking() {
        let docker = br#"[{"Config":"c","RepoTags":null,"Layers":["l"]}]"#;
        let index = br#"{"manifests":[{"digest":"sha256:0"}]}"#;
        let inner = tar(&[entry("lay/index.json", index)]);
        let deeper = tar(&[entry("b.bin", &inner)]);
        for (path, content, expected) in [
            ("manifest.json", &docker[..], NestedContent::Image),
            ("./image/manifest.json", docker, NestedContent::Image),
            ("a/b/manifest.json", docker, NestedContent::Image),
            ("a\\manifest.json", docker, NestedContent::Image),
            ("index.json", index, NestedContent::Image),
            ("a.bin", &inner, NestedContent::Image),
            ("a.bin", &deeper, NestedContent::Image),
            ("web/manifest.json", b"{\"manifest_version\": 3}", NestedContent::Nothing),
            ("values.yaml", docker, NestedContent::Nothing),
            ("charts/dep.tgz", b"\x1f\x8b\x08", NestedContent::Archives),
            ("charts/dep.tar", &tar(&[entry("values.yaml", b"a: b\n")]), NestedContent::Nothing),
        ] {
            let whole = tar(&[entry("a/empty", b""), entry(path, content), entry("z", b"z")]);
            for size in [1, 511, 512, 700, whole.len()] {
                let mut probe = Probe::default();
                whole.chunks(size).for_each(|chunk| probe.push(chunk));
                assert_eq!((probe.is_tar(), probe.inside()), (true, expected), "{path}, {size}");
            }
        }
        let mut probe = Probe::default();
        probe.push(&[b'x'; 2000]);
        assert_eq!((probe.is_tar(), probe.inside()), (false, NestedContent::Nothing));
    }

    #[test]
    fn probe_stops_at_maximum_depth() {
        let mut nested = tar(&[entry("manifest.json", b"[]")]);
        for _ in 0..50 {
            nested = tar(&[entry("a.tar", &nested)]);
        }
        let mut probe = Probe::default();
        probe.push(&nested);
        assert_eq!(probe.inside(), NestedContent::Archives, "deeper levels are not searched");
    }
}
