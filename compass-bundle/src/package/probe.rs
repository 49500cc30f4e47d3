//! Looks for images in a tar archive that is not read any further, as its bytes pass.

use super::decompress::is_tar;

/// Bytes of a small file that are looked at.
const MAX_TEXT: usize = 256 << 10;

const BLOCK: usize = 512;

/// Finds out whether an archive holds an image, at its top or in a directory of it.
#[derive(Debug, Default)]
pub(super) struct Probe {
    state: State,
    is_tar: bool,
    found: bool,
}

#[derive(Debug)]
enum State {
    /// The next header, of which these bytes have come.
    Header(Vec<u8>),
    /// Content of a file that may describe images, and what is left of its blocks.
    Text(Text, Vec<u8>, u64),
    /// Content that is passed over.
    Skip(u64),
    End,
}

#[derive(Debug, Clone, Copy)]
enum Text {
    /// `manifest.json`, as `docker save` writes it.
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

    /// Whether there is an image in what has passed.
    pub(super) fn holds_image(&self) -> bool {
        self.found
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !matches!(self.state, State::End) {
            bytes = self.step(bytes);
        }
    }

    /// Takes some of the bytes, and gives the rest.
    fn step<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        match &mut self.state {
            State::Header(header) => {
                let (new, rest) = bytes.split_at(bytes.len().min(BLOCK - header.len()));
                header.extend_from_slice(new);
                if header.len() == BLOCK {
                    self.state = match is_tar(header) {
                        true => after_header(header),
                        false => State::End,
                    };
                    self.is_tar |= !matches!(self.state, State::End);
                }
                rest
            }
            State::Text(kind, text, left) => {
                let (new, rest) = split(bytes, left);
                let room = MAX_TEXT - text.len();
                text.extend_from_slice(&new[..new.len().min(room)]);
                if *left == 0 {
                    self.found |= kind.describes_images(text);
                    self.state = State::default();
                }
                rest
            }
            State::Skip(left) => {
                let (_, rest) = split(bytes, left);
                if *left == 0 {
                    self.state = State::default();
                }
                rest
            }
            State::End => &[],
        }
    }
}

fn split<'b>(bytes: &'b [u8], left: &mut u64) -> (&'b [u8], &'b [u8]) {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    *left -= count as u64;
    bytes.split_at(count)
}

fn after_header(header: &[u8]) -> State {
    let header = tokio_tar::Header::from_byte_slice(header);
    let Ok(size) = header.raw_entry_size() else { return State::End };
    let Some(blocks) = size.checked_next_multiple_of(BLOCK as u64) else { return State::End };
    let path = header.path_bytes();
    let path = String::from_utf8_lossy(&path);
    let mut steps = path.split('/').filter(|step| !matches!(*step, "" | "."));
    let name = match (steps.next(), steps.next(), steps.next()) {
        (Some(name), None, _) | (_, Some(name), None) => name,
        _ => "",
    };
    match name {
        _ if blocks == 0 => State::default(),
        "manifest.json" => State::Text(Text::Docker, Vec::new(), blocks),
        "index.json" => State::Text(Text::Index, Vec::new(), blocks),
        _ => State::Skip(blocks),
    }
}

impl Text {
    fn describes_images(self, text: &[u8]) -> bool {
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

    #[test]
    fn probe_finds_images_in_any_pieces() {
        let docker = br#"[{"Config":"c","RepoTags":null,"Layers":["l"]}]"#;
        let index = br#"{"manifests":[{"digest":"sha256:0"}]}"#;
        for (path, content, expected) in [
            ("manifest.json", &docker[..], true),
            ("./image/manifest.json", docker, true),
            ("a/b/manifest.json", docker, false),
            ("index.json", index, true),
            ("web/manifest.json", b"{\"manifest_version\": 3}", false),
            ("values.yaml", docker, false),
        ] {
            let tar = [entry("a/empty", b""), entry(path, content), vec![0; 1024]].concat();
            for size in [1, 511, 512, 700, tar.len()] {
                let mut probe = Probe::default();
                tar.chunks(size).for_each(|chunk| probe.push(chunk));
                assert_eq!(
                    (probe.is_tar(), probe.holds_image()),
                    (true, expected),
                    "{path}, {size}"
                );
            }
        }
        let mut probe = Probe::default();
        probe.push(&[b'x'; 2000]);
        assert!(!probe.is_tar() && !probe.holds_image());
    }
}
