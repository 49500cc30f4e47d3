//! Determines the structure of a bundle from `bundle.json` and the image manifests.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use serde::Deserialize;

use super::source::BufferedSource;
use crate::Error;
use crate::format::document::{
    BundleDocument, BundleFile, FILE_NAME, FORMAT_VERSION, MAX_DOCUMENT, MAX_MANIFESTS,
};
use crate::format::gzip;
use crate::format::member::{Member, MemberCursor};
use crate::format::tar_entry;
use crate::plan::contents::FileEntry;

/// Reads a range of the content of a member.
///
/// # Errors
/// [`Error::NotABundle`] if the range exceeds the content or the file, [`Error::Damaged`] if the
/// framing is wrong, and the errors of the source.
pub(super) async fn read_content(
    file: &BufferedSource,
    member: Member,
    range: Range<u64>,
) -> Result<Bytes, Error> {
    if range.start > range.end || range.end > member.size {
        return Err(Error::not_a_bundle(
            file.source().name(),
            "bundle.json refers to bytes after the end of a gzip member",
        ));
    }
    let position = range.start;
    let framed = file.read(member.content_range(range)).await?;
    match member.decode(position, &framed) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(Error::damaged(format!("{}: {error}", file.source().name()))),
    }
}

/// The field of `bundle.json` that every format version has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versioned {
    format_version: u32,
}

/// Size in bytes of the gzip header, the block header and the tar header of the first entry.
const HEAD: u64 = gzip::HEADER.len() as u64 + gzip::BLOCK_HEADER + tar_entry::BLOCK;

/// Reads the structure of a bundle from `bundle.json` and the image manifests, member by member.
pub(super) struct BundleParser<'f> {
    pub(super) file: &'f BufferedSource,
    pub(super) cursor: MemberCursor,
    /// Bytes of memory that the image manifests may still use.
    memory: u64,
}

impl<'f> BundleParser<'f> {
    /// Reads `bundle.json` and creates a parser for the members after it.
    ///
    /// # Errors
    /// [`Error::NotABundle`] if the first entry is not `bundle.json` in a gzip member of its own, or
    /// the document is invalid or has another format version; [`Error::Damaged`] if the member is
    /// truncated or its checksum is wrong.
    pub(super) async fn begin(file: &'f BufferedSource) -> Result<(Self, BundleDocument), Error> {
        let mut parser = Self { file, cursor: MemberCursor::default(), memory: MAX_MANIFESTS };
        let head = file.read(0..file.source().size().min(HEAD)).await?;
        if !head.starts_with(&gzip::HEADER) {
            return Err(parser.invalid("it does not start with the gzip header of a bundle"));
        }
        let not_document = || parser.invalid("its first entry is not bundle.json");
        let header = head.get(gzip::HEADER.len() + 5..).unwrap_or_default();
        if (header.len() as u64) < tar_entry::BLOCK {
            return Err(parser.invalid("it is truncated before bundle.json"));
        }
        let header = tokio_tar::Header::from_byte_slice(header);
        let path = header.path().map_err(|_| not_document())?.into_owned();
        let size = header.raw_entry_size().map_err(|_| not_document())?;
        if !path.ends_with(FILE_NAME) || size > MAX_DOCUMENT {
            return Err(not_document());
        }
        let entry_size = tar_entry::BLOCK + size.next_multiple_of(tar_entry::BLOCK);
        let text = parser.document_text(entry_size, size).await?;
        let document = parser.parse(&path, &text)?;
        parser.cursor.append(entry_size, false);
        Ok((parser, document))
    }

    /// Reads the first member, whose only content is the tar entry of `bundle.json`.
    async fn document_text(&self, entry_size: u64, size: u64) -> Result<Bytes, Error> {
        let member = Member { offset: 0, size: entry_size, nested: false };
        let range = member.file_range();
        if range.end > self.file.source().size() {
            return Err(self.truncated());
        }
        let framed = self.file.read(range).await?;
        let (mut decoder, mut entry) = (member.decoder(), Vec::new());
        let begin = gzip::HEADER.len()..gzip::HEADER.len() + 5;
        let (head, rest) = framed.split_at(begin.end);
        if decoder.for_each_slice(head, |_| {}).is_err() {
            let reason = "its bundle.json is not in a gzip member of its own: another tool \
                          compressed it again, or it was written by an older version";
            return Err(self.invalid(reason));
        }
        let decoded = decoder.for_each_slice(rest, |slice| entry.extend_from_slice(slice));
        let name = self.file.source().name();
        decoded
            .and_then(|()| decoder.finish())
            .map_err(|error| Error::damaged(format!("{name}: bundle.json: {error}")))?;
        let end = usize::try_from(tar_entry::BLOCK + size).unwrap_or(usize::MAX);
        Ok(Bytes::from(entry).slice(512..end))
    }

    fn parse(&self, path: &Path, text: &[u8]) -> Result<BundleDocument, Error> {
        let unreadable = |error| self.invalid(format!("cannot parse bundle.json: {error}"));
        let Versioned { format_version: version } =
            serde_json::from_slice(text).map_err(unreadable)?;
        if version != FORMAT_VERSION {
            let reason = format!("its format version {version} is not supported");
            return Err(self.invalid(reason));
        }
        let document: BundleDocument = serde_json::from_slice(text).map_err(unreadable)?;
        let stem = document.stem();
        if *path != *Path::new(&stem).join(FILE_NAME) {
            let path = path.display().to_string();
            let path = path.escape_debug();
            let reason = format!("its first entry is `{path}`, but bundle.json describes {stem}");
            return Err(self.invalid(reason));
        }
        Ok(document)
    }

    pub(super) fn invalid(&self, reason: impl Into<String>) -> Error {
        Error::not_a_bundle(self.file.source().name(), reason)
    }

    /// Creates the error for a member that ends after the end of the file.
    pub(super) fn truncated(&self) -> Error {
        let source = self.file.source();
        let (name, size) = (source.name(), source.size());
        Error::damaged(format!(
            "{name}: bundle.json describes more than {size} bytes, the size of the file: the file is \
             truncated, or bundle.json is damaged"
        ))
    }

    /// Reserves memory for the image manifests.
    ///
    /// # Errors
    /// [`Error::NotABundle`] if they exceed the limit of 64 MiB.
    pub(super) fn reserve_memory(&mut self, bytes: u64) -> Result<(), Error> {
        let left = self.memory.checked_sub(bytes);
        self.memory = left.ok_or_else(|| self.invalid("its image manifests are too large"))?;
        Ok(())
    }

    /// Adds the header of a tar entry to the run.
    pub(super) fn skip_header(
        &mut self,
        document: &BundleDocument,
        path: &str,
    ) -> Result<(), Error> {
        let path = format!("{}/{path}", document.stem());
        let header = tar_entry::file(&path, tar_entry::FILE_MODE, 0, 0)?;
        self.cursor.extend_run(header.len() as u64);
        Ok(())
    }

    /// Adds a small file to the run.
    pub(super) fn skip_file(
        &mut self,
        document: &BundleDocument,
        file: &BundleFile,
    ) -> Result<(), Error> {
        self.skip_header(document, &file.path)?;
        self.cursor.extend_run(file.size);
        self.skip_padding(file.size);
        Ok(())
    }

    pub(super) fn skip_padding(&mut self, size: u64) {
        self.cursor.extend_run(tar_entry::padding(size).len() as u64);
    }
}

pub(super) fn file_entry(file: &BundleFile) -> Option<FileEntry> {
    let (path, size, digest) = (file.path.clone(), file.size, file.digest?);
    Some(FileEntry { path, mode: file.permissions(), size, digest, bytes: None })
}

#[cfg(test)]
mod tests {
    use compass_registry::{Digest, RawManifest, media_type};
    use serde_json::json;

    use crate::Bundle;

    use super::*;

    /// A bundle with this document, followed by these members.
    fn bundle(document: &serde_json::Value, members: &[u8]) -> Vec<u8> {
        let stem = if document["kind"] == "plugin" { "compass-plugins-" } else { "" };
        let document = document.to_string();
        let mut header = tokio_tar::Header::new_ustar();
        header.set_path(format!("{stem}compass-v2.7.0/bundle.json")).unwrap();
        header.set_size(document.len() as u64);
        header.set_cksum();
        let mut tar = [header.as_bytes(), document.as_bytes()].concat();
        tar.resize(tar.len().next_multiple_of(512), 0);
        [&gzip::member(&tar), members].concat()
    }

    /// A manifest of nearly the maximum size, padded with spaces.
    fn large(kind: &str, manifest: &serde_json::Value) -> RawManifest {
        RawManifest::new(kind, format!("{}{manifest}", " ".repeat(4_000_000)))
    }

    async fn refusal(document: &serde_json::Value, bytes: &[u8]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bundle");
        std::fs::write(&path, bundle(document, bytes)).unwrap();
        Bundle::open(&path).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn open_blobs_at_one_offset_is_error() {
        let layer = json!({
            "mediaType": media_type::OCI_LAYER, "size": 1, "digest": Digest::of(b"a"),
        });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": layer,
            "layers": [layer],
        });
        let manifest = large(media_type::OCI_MANIFEST, &manifest);
        let mut blob = serde_json::to_value(manifest.descriptor()).unwrap();
        blob["offset"] = json!(512);
        let platform = json!({"os": "linux", "architecture": "amd64"});
        let document = json!({
            "formatVersion": FORMAT_VERSION, "kind": "plugin", "name": "compass",
            "version": "v2.7.0", "modified": 0,
            "files": [{
                "path": "a-image.tar.gz", "size": 1,
                "image": {
                    "reference": "h.example/a:v1", "digest": manifest.digest(),
                    "platform": platform, "singlePlatform": platform, "blobs": [blob, blob],
                },
            }],
        });
        let run = gzip::member(&[0; 512]);
        let archive = gzip::member(&gzip::member(manifest.bytes()));
        let members = [gzip::member(&[&[0; 512], &run[..]].concat()), archive].concat();
        let refused = refusal(&document, &members).await;
        assert!(refused.contains("its blobs are not in order"), "{refused}");
    }

    #[tokio::test]
    async fn open_large_manifest_of_many_images_is_error() {
        let index =
            json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": []});
        let index = large(media_type::OCI_INDEX, &index);
        let image = |n| {
            json!({
                "reference": format!("h.example/a:v{n}"), "digest": index.digest(),
                "singlePlatform": {"os": "linux", "architecture": "amd64"},
            })
        };
        let images: Vec<_> = (0..1000).map(image).collect();
        let mut blob = serde_json::to_value(index.descriptor()).unwrap();
        blob["offset"] = json!(512);
        let document = json!({
            "formatVersion": FORMAT_VERSION, "kind": "product", "name": "compass",
            "version": "v2.7.0", "modified": 0, "files": [],
            "store": {"path": "images", "images": images, "blobs": [blob]},
        });
        let members = [gzip::member(&[0; 512]), gzip::member(index.bytes())].concat();
        let refused = refusal(&document, &members).await;
        assert!(refused.contains("its image manifests are too large"), "{refused}");
    }

    #[tokio::test]
    async fn open_too_long_list_is_error() {
        let file = json!({"path": "", "size": 0});
        let document = json!({
            "formatVersion": FORMAT_VERSION, "kind": "plugin", "name": "compass",
            "version": "v2.7.0", "modified": 0, "files": vec![file; 50_001],
        });
        let told = refusal(&document, b"").await;
        assert!(told.contains("expected a list of at most 50000"), "{told}");
    }
}
