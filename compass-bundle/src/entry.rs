//! Single entries of a tar archive, headers and padding, with nothing that differs from run to run.

use tokio_tar::{EntryType, Header};

use crate::Error;

/// Tar counts in blocks of this many bytes.
pub(crate) const BLOCK: u64 = 512;

/// Two blocks of zeros end an archive.
pub(crate) const END: usize = 1024;

/// What an entry with this many bytes takes: header, bytes, padding.
pub(crate) const fn size(bytes: u64) -> u64 {
    BLOCK + bytes.next_multiple_of(BLOCK)
}

/// Zeros that fill the last block of an entry.
pub(crate) fn padding(bytes: u64) -> &'static [u8] {
    let count = bytes.next_multiple_of(BLOCK) - bytes;
    &[0; 512][..usize::try_from(count).unwrap_or_default()]
}

/// The header of a file.
pub(crate) fn file(path: &str, size: u64, modified: u64) -> Result<Vec<u8>, Error> {
    header(path, EntryType::Regular, 0o644, size, modified)
}

/// The header of a directory.
pub(crate) fn directory(path: &str, modified: u64) -> Result<Vec<u8>, Error> {
    header(path, EntryType::Directory, 0o755, 0, modified)
}

fn header(
    path: &str,
    kind: EntryType,
    mode: u32,
    size: u64,
    modified: u64,
) -> Result<Vec<u8>, Error> {
    let mut header = Header::new_ustar();
    header.set_path(path).map_err(|_| {
        Error::Unplannable(format!("`{path}` is too long a name for a tar archive"))
    })?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(modified);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}
