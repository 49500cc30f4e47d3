//! Headers and padding of tar entries. Equal arguments give equal bytes.

use tokio_tar::{EntryType, Header};

use crate::Error;

/// The block size of tar in bytes.
pub(crate) const BLOCK: u64 = 512;

/// The size in bytes of the two blocks of zeros that end an archive.
pub(crate) const END: usize = 1024;

/// The name of a pax extended header.
const PAX_HEADER: &str = "@PaxHeader";

/// The default mode of a file.
pub(crate) const FILE_MODE: u32 = 0o644;

/// The zeros that fill the last block of an entry with this many bytes.
pub(crate) fn padding(bytes: u64) -> &'static [u8] {
    let count = (BLOCK - bytes % BLOCK) % BLOCK;
    &[0; 512][..usize::try_from(count).unwrap_or_default()]
}

/// The header of a file.
pub(crate) fn file(path: &str, mode: u32, size: u64, modified: u64) -> Result<Vec<u8>, Error> {
    header(path, EntryType::Regular, mode, size, modified)
}

/// The header of a directory.
pub(crate) fn directory(path: &str, modified: u64) -> Result<Vec<u8>, Error> {
    header(path, EntryType::Directory, 0o755, 0, modified)
}

/// Builds a header. A path that does not fit ustar is written to a pax extended header before it.
fn header(
    path: &str,
    kind: EntryType,
    mode: u32,
    size: u64,
    modified: u64,
) -> Result<Vec<u8>, Error> {
    if let Some(header) = ustar(path, kind, mode, size, modified) {
        return Ok(header);
    }
    let too_long =
        || Error::InvalidInput(format!("`{path}` is too long for a path in a tar archive"));
    let record = path_record(path).filter(|record| record.len() as u64 <= BLOCK);
    let record = record.ok_or_else(too_long)?;
    let length = record.len() as u64;
    let mut bytes =
        ustar(PAX_HEADER, EntryType::XHeader, FILE_MODE, length, modified).ok_or_else(too_long)?;
    bytes.extend_from_slice(record.as_bytes());
    bytes.extend_from_slice(padding(length));
    let start: String = path.chars().take(100).filter(char::is_ascii).collect();
    let start = start.trim_end_matches('/');
    bytes.extend(ustar(start, kind, mode, size, modified).ok_or_else(too_long)?);
    Ok(bytes)
}

/// `<length of the record> path=<path>\n`, where the length counts its own digits.
fn path_record(path: &str) -> Option<String> {
    let rest = format!(" path={path}\n");
    (1..4_usize).find_map(|digits| {
        let length = digits + rest.len();
        (length.to_string().len() == digits).then(|| format!("{length}{rest}"))
    })
}

fn ustar(path: &str, kind: EntryType, mode: u32, size: u64, modified: u64) -> Option<Vec<u8>> {
    let mut header = Header::new_ustar();
    header.set_path(path).ok()?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(modified);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    Some(header.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_record_length_counts_itself() {
        for length in [1, 80, 90, 91, 92, 93, 200, 480] {
            let record = path_record(&"x".repeat(length)).unwrap();
            let (digits, _) = record.split_once(' ').unwrap();
            assert_eq!(digits.parse::<usize>().unwrap(), record.len());
        }
    }

    #[test]
    fn file_long_path_has_extended_header() {
        assert_eq!(file("a/b", FILE_MODE, 1, 0).unwrap().len(), 512);
        let long = format!("stem/{}-image.tar.gz", "x".repeat(150));
        assert_eq!(file(&long, FILE_MODE, 1, 0).unwrap().len(), 3 * 512);
        assert!(file(&"x".repeat(600), FILE_MODE, 1, 0).is_err());
    }
}
