//! Paths of entries in tar archives.

use std::fmt::Write as _;
use std::io::{Error, ErrorKind, Result};

use compass_registry::Digest;

/// Maximum length of a path in bytes (`PATH_MAX` of Linux).
const MAX_PATH: usize = 4096;

/// Maximum length of a path component in bytes (`NAME_MAX` of common file systems).
const MAX_STEP: usize = 255;

/// Path separators. Archives that Windows tools write contain backslashes.
pub(super) const SEPARATORS: [char; 2] = ['/', '\\'];

/// A path relative to the directory that an archive is unpacked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryPath {
    /// The bytes, as a file system stores them.
    pub(crate) bytes: Vec<u8>,
    /// The text. Bytes that are not UTF-8 are escaped as `\xNN`.
    pub(crate) text: String,
}

impl EntryPath {
    /// Normalizes a path as GNU tar does.
    ///
    /// Removes leading slashes, empty and `.` components, and a trailing slash.
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

    /// Resolves the target of a link: a symbolic link relative to its directory, a hard link
    /// relative to the root. Returns `None` if the target is outside the archive.
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

    /// Whether this is the root directory of the archive.
    pub(crate) fn is_top(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Why the path must not be unpacked.
    pub(super) fn unsafe_reason(&self) -> Option<&'static str> {
        let steps = || self.bytes.split(|byte| *byte == b'/');
        if steps().any(|step| step == b"..") {
            return Some("points outside");
        }
        if self.bytes.get(1) == Some(&b':') {
            return Some("has a name that points outside on other systems");
        }
        if self.text.chars().any(char::is_control) {
            return Some("has a name with control characters");
        }
        steps().any(|step| step.len() > MAX_STEP).then_some("has a name that is too long")
    }
}

/// Rejects long paths: messages repeat a path for each image and layer that concerns it.
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

/// The digest that the name of an OCI layout blob contains. Directories of old Docker layers have
/// IDs that are not digests.
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
    fn entry_path_is_normalized_as_in_tar() {
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
            (&b"../a"[..], "points outside"),
            (b"a/../../b", "points outside"),
            (b"C:/a", "other systems"),
            (b"a\nb", "control characters"),
            (&[b'x'; 300], "too long"),
        ] {
            assert!(path(written).unsafe_reason().unwrap().contains(reason), "{written:?}");
        }
        assert!(EntryPath::new(&[b'x'; 5000]).is_err());
    }

    #[test]
    fn link_target_is_resolved() {
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
