//! Git LFS pointers, which are committed instead of large files
//! (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).

use compass_registry::Digest;

/// The specification's limit for the size of a pointer.
pub(super) const MAX_POINTER_BYTES: u64 = 1024;

/// Returns the digest in a pointer; `None` if `blob` is not a pointer.
pub(super) fn content_digest(blob: &[u8]) -> Option<Digest> {
    let text = std::str::from_utf8(blob).ok()?;
    text.strip_prefix("version https://git-lfs.github.com/spec/")?;
    text.lines().find_map(|line| line.strip_prefix("oid "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OID: &str = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";

    #[test]
    fn content_digest_pointer_is_oid() {
        let pointer =
            format!("version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 12345\n");
        let digest = content_digest(pointer.as_bytes()).map(|digest| digest.to_string());
        assert_eq!(digest, Some(format!("sha256:{OID}")));
    }

    #[test]
    fn content_digest_other_text_is_none() {
        for text in
            ["", "version 1\noid sha256:00\n", "version https://git-lfs.github.com/spec/v1\n"]
        {
            assert_eq!(content_digest(text.as_bytes()), None, "{text}");
        }
    }
}
