//! The `.sha256` beside a bundle, as `sha256sum` writes it.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use compass_registry::Digest;
use rustix::fs::OFlags;

use crate::Error;
#[cfg(feature = "store")]
use crate::write::CHECKSUM_END;
use crate::write::checksum_path;

/// The largest `.sha256` that is read, in bytes.
pub(crate) const MAX_CHECKSUM: u64 = 4 << 10;

/// Reads the digest in the `.sha256` beside a file, if there is one.
///
/// # Errors
/// [`Error::InvalidChecksum`] if it is not a small regular file that names `path`.
pub(crate) fn read_checksum(path: &Path) -> Result<Option<Digest>, Error> {
    let beside = checksum_path(path);
    let bad = |reason: &str| Error::invalid_checksum(beside.display(), reason);
    let mut options = OpenOptions::new();
    // Opening a pipe would wait for a writer.
    options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = match options.open(&beside) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", &beside)(error)),
    };
    let metadata = file.metadata().map_err(Error::io("read", &beside))?;
    if !metadata.is_file() {
        return Err(bad("it is not a regular file"));
    }
    let mut text = Vec::new();
    let read = file.take(MAX_CHECKSUM + 1).read_to_end(&mut text);
    read.map_err(Error::io("read", &beside))?;
    let name = path.file_name().unwrap_or_default();
    checksum_in(&text, name.as_encoded_bytes()).map(Some).map_err(|reason| bad(&reason))
}

/// Returns the digest of a remote file in the text of its `.sha256`.
///
/// `shown` is the URL of the file without secrets, and `path` its path on the server.
#[cfg(feature = "store")]
pub(crate) fn remote_checksum(text: &[u8], shown: &str, path: &str) -> Result<Digest, Error> {
    let name = path.rsplit('/').next().unwrap_or_default();
    checksum_in(text, name.as_bytes())
        .map_err(|reason| Error::invalid_checksum(format!("{shown}{CHECKSUM_END}"), reason))
}

/// Returns the digest of the file with this name in the text of a `.sha256`.
///
/// # Errors
/// The reason if there is no such digest.
pub(crate) fn checksum_in(text: &[u8], name: &[u8]) -> Result<Digest, String> {
    if text.len() as u64 > MAX_CHECKSUM {
        return Err(format!("it has more than {MAX_CHECKSUM} bytes"));
    }
    let named = text.split(|byte| *byte == b'\n').filter_map(named_digest);
    let of_file = named.filter(|(_, file)| is_path_of(file, name));
    let mut found = None;
    for (hex, _) in of_file {
        let hex = String::from_utf8_lossy(hex).to_ascii_lowercase();
        let digest = format!("sha256:{hex}").parse();
        let digest: Digest = digest.map_err(|_| "it has no SHA-256".to_owned())?;
        if found.replace(digest).is_some_and(|other| other != digest) {
            return Err("it has several SHA-256 for this file".to_owned());
        }
    }
    found
        .ok_or_else(|| format!("it does not name {}", String::from_utf8_lossy(name).escape_debug()))
}

/// The digest and the file name of a line, in the format of `sha256sum`, BSD or `openssl dgst`.
fn named_digest(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
    let tagged = [&b"SHA256 ("[..], b"SHA256(", b"SHA2-256(", b"SHA2-256 ("]
        .into_iter()
        .find_map(|tag| line.strip_prefix(tag));
    if let Some(rest) = tagged {
        let end = rest.iter().rposition(|byte| *byte == b')')?;
        let hex = rest[end + 1..].trim_ascii_start().strip_prefix(b"=")?;
        return Some((hex.trim_ascii_start(), &rest[..end]));
    }
    let (hex, rest) = line.split_at_checked(64)?;
    let file = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"\t"))?.trim_ascii_start();
    // `sha256sum` marks binary mode with an asterisk.
    Some((hex, file.strip_prefix(b"*").unwrap_or(file)))
}

/// Returns whether this is the last component of a path with `/` or `\\` as the separator.
fn is_path_of(path: &[u8], name: &[u8]) -> bool {
    [b'/', b'\\'].iter().any(|separator| path.rsplit(|byte| byte == separator).next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn checksum_must_name_its_file() {
        let other = "0".repeat(64);
        for (text, reason) in [
            (format!("{HEX}  gpu.tar.gz\n"), None),
            (format!("{HEX} *gpu.tar.gz"), None),
            (format!("{HEX}  out/gpu.tar.gz\r\n"), None),
            (format!("{}  gpu.tar.gz\n", HEX.to_uppercase()), None),
            (format!("{other}  web.tar.gz\n{HEX}  gpu.tar.gz\n"), None),
            (format!("\u{feff}{HEX}  gpu.tar.gz\r\n"), None),
            (format!("{HEX}\tgpu.tar.gz\n"), None),
            (format!("{HEX}  C:\\out\\gpu.tar.gz\r\n"), None),
            (format!("SHA256 (gpu.tar.gz) = {HEX}\n"), None),
            (format!("SHA256(out/gpu.tar.gz)= {HEX}\n"), None),
            (format!("SHA2-256(gpu.tar.gz)= {HEX}\n"), None),
            (format!("{HEX}  gpu.tar.gz\nSHA256 (gpu.tar.gz) = {HEX}\n"), None),
            (format!("{HEX}  gpu.tar.gz\n{other}  gpu.tar.gz\n"), Some("has several SHA-256")),
            (format!("SHA256 (web.tar.gz) = {HEX}\n"), Some("it does not name gpu.tar.gz")),
            (format!("SHA256 (gpu.tar.gz) = {}\n", &HEX[1..]), Some("it has no SHA-256")),
            (format!("MD5 (gpu.tar.gz) = {HEX}\n"), Some("it does not name gpu.tar.gz")),
            (format!("{HEX}gpu.tar.gz\n"), Some("it does not name gpu.tar.gz")),
            (format!("{HEX}  web.tar.gz\n"), Some("it does not name gpu.tar.gz")),
            (format!("{HEX}\n"), Some("it does not name gpu.tar.gz")),
            (format!("{HEX}  -\n"), Some("it does not name gpu.tar.gz")),
            (format!("{}  gpu.tar.gz\n", "x".repeat(64)), Some("it has no SHA-256")),
            (String::new(), Some("it does not name")),
            (format!("{}{HEX}  gpu.tar.gz\n", "\n".repeat(5000)), Some("more than 4096 bytes")),
        ] {
            match (checksum_in(text.as_bytes(), b"gpu.tar.gz"), reason) {
                (Ok(digest), None) => assert_eq!(digest.hex(), HEX, "{text}"),
                (Err(told), Some(reason)) => assert!(told.contains(reason), "{told}"),
                (result, _) => panic!("{text:?}: {result:?}"),
            }
        }
    }

    #[test]
    fn checksum_is_a_regular_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gpu.tar.gz");
        assert_eq!(read_checksum(&path).unwrap(), None);
        let beside = checksum_path(&path);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &beside,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let told = read_checksum(&path).unwrap_err().to_string();
        assert!(told.contains("not a regular file"), "{told}");
        std::fs::remove_file(&beside).unwrap();
        let sparse = std::fs::File::create(&beside).unwrap();
        sparse.set_len(1 << 40).unwrap();
        let told = read_checksum(&path).unwrap_err().to_string();
        assert!(told.contains("more than 4096 bytes"), "{told}");
    }
}
