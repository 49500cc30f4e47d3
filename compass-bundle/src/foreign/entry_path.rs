//! Paths of entries in tar archives.

use std::fmt::Write as _;
use std::io::{Error, ErrorKind, Result};

use compass_registry::Digest;

/// Bytes of a path: no system opens one that is longer.
const MAX_PATH: usize = 4096;

/// Bytes of one step of a path that common file systems take.
const MAX_STEP: usize = 255;

/// A path below the directory that an archive is unpacked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryPath {
    /// The bytes, as a file system has them.
    pub(crate) bytes: Vec<u8>,
    /// The text: bytes that are not UTF-8 are written as `\xNN`.
    pub(crate) text: String,
}

impl EntryPath {
    /// Reads a path as GNU tar does: slashes at the beginning, steps that lead nowhere and a slash at
    /// the end do not count.
    pub(super) fn new(bytes: &[u8]) -> Result<Self> {
        require_short(bytes)?;
        let steps = bytes.split(|byte| *byte == b'/');
        let steps: Vec<_> = steps.filter(|step| !matches!(*step, b"" | b".")).collect();
        Ok(Self::of(steps.join(&b'/')))
    }

    fn of(bytes: Vec<u8>) -> Self {
        let text = readable(&bytes);
        Self { bytes, text }
    }

    /// Where a link leads: a symbolic one from beside itself, a hard one from the top. Nothing if it
    /// leads out of the archive.
    pub(super) fn resolve_link(&self, is_symbolic: bool, target: &[u8]) -> Result<Option<Self>> {
        require_short(target)?;
        let mut steps: Vec<&[u8]> = match is_symbolic && !target.starts_with(b"/") {
            true => self.bytes.split(|byte| *byte == b'/').collect(),
            false => Vec::new(),
        };
        steps.pop();
        for step in target.split(|byte| *byte == b'/') {
            match step {
                b".." => {
                    if steps.pop().is_none() {
                        return Ok(None);
                    }
                }
                b"." | b"" => {}
                step => steps.push(step),
            }
        }
        Ok(Some(Self::of(steps.join(&b'/'))))
    }

    /// Whether this is the directory that everything is in.
    pub(crate) fn is_top(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Why nothing should be unpacked to this path.
    pub(super) fn unsafe_reason(&self) -> Option<&'static str> {
        let steps = || self.bytes.split(|byte| *byte == b'/');
        if steps().any(|step| step == b"..") {
            return Some("leads outside");
        }
        if self.bytes.get(1) == Some(&b':') {
            return Some("has a name that leads outside on other systems");
        }
        if self.text.chars().any(char::is_control) {
            return Some("has a name with control characters");
        }
        steps().any(|step| step.len() > MAX_STEP).then_some("has a name that is too long")
    }
}

/// A path may be repeated with each image, layer and error that has to do with it.
fn require_short(path: &[u8]) -> Result<()> {
    if path.len() <= MAX_PATH {
        return Ok(());
    }
    let begins = String::from_utf8_lossy(&path[..40]).escape_debug().to_string();
    let reason = format!("a name of {} bytes is too long: {begins}…", path.len());
    Err(Error::new(ErrorKind::Unsupported, reason))
}

fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The digest in the name of a blob of an OCI layout. The directories of old layers are ids, and no
/// digests.
pub(super) fn named_digest(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(bytes: &[u8]) -> EntryPath {
        EntryPath::new(bytes).unwrap()
    }

    #[test]
    fn paths_are_read_as_gnu_tar_reads_them() {
        for (written, text) in [
            (&b"./a/b"[..], "a/b"),
            (b"/a/b", "a/b"),
            (b"a//b/./c/", "a/b/c"),
            (b".", ""),
            (b"/", ""),
            (b"\xd6\xd0\xce\xc4.yaml", "\\xd6\\xd0\\xce\\xc4.yaml"),
            ("中文.yaml".as_bytes(), "中文.yaml"),
            (b"a\\b", "a\\b"),
        ] {
            let read = path(written);
            assert_eq!((read.text.as_str(), read.unsafe_reason()), (text, None), "{written:?}");
        }
    }

    #[test]
    fn unsafe_paths_have_reasons() {
        for (written, reason) in [
            (&b"../a"[..], "leads outside"),
            (b"a/../../b", "leads outside"),
            (b"C:/a", "other systems"),
            (b"a\nb", "control characters"),
            (&[b'x'; 300], "too long"),
        ] {
            assert!(path(written).unsafe_reason().unwrap().contains(reason), "{written:?}");
        }
        assert!(EntryPath::new(&[b'x'; 5000]).is_err());
    }

    #[test]
    fn links_lead_from_beside_or_from_the_top() {
        for (from, is_symbolic, target, expected) in [
            ("0b/layer.tar", true, "../0a/layer.tar", Some("0a/layer.tar")),
            ("0b/layer.tar", true, "/0a/layer.tar", Some("0a/layer.tar")),
            ("0b/layer.tar", false, "./0a/layer.tar", Some("0a/layer.tar")),
            ("layer.tar", true, "other.tar", Some("other.tar")),
            ("0b/layer.tar", true, "../../layer.tar", None),
        ] {
            let found = path(from.as_bytes()).resolve_link(is_symbolic, target.as_bytes()).unwrap();
            assert_eq!(found.map(|path| path.text).as_deref(), expected, "{from}, {target}");
        }
    }
}
