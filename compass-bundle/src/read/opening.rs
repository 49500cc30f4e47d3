//! Finds out the structure of a bundle from the small things at its beginning.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use compass_registry::{Digest, MAX_MANIFEST_BYTES, RawManifest, Reference};
use serde::Deserialize;

use super::frames::Frames;
use super::source::Windowed;
use crate::document::{
    BundleDocument, BundleFile, FILE_NAME, FORMAT_VERSION, MANIFEST, MAX_DOCUMENT, MAX_MANIFESTS,
    PlacedBlob,
};
use crate::plan::contents::ContentFile;
use crate::plan::entry;
use crate::plan::image::{ArchiveImage, manifests_below};
use crate::{Error, frame};

/// Bytes of a tar.
pub(super) async fn read_tar(
    file: &Windowed,
    frames: Frames,
    range: Range<u64>,
) -> Result<Bytes, Error> {
    if range.start > range.end || range.end > frames.length() {
        return Err(Error::not_a_bundle(file.source().name(), "it points beyond its own end"));
    }
    let framed = file.read(frames.file_range(range.clone())).await?;
    match frames.unframe(range.start, &framed) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(Error::damaged(format!("{}: {error}", file.source().name()))),
    }
}

/// What all versions of the document have.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versioned {
    format_version: u32,
}

/// A bundle of which the structure is not known yet.
pub(super) struct Opening<'f> {
    file: &'f Windowed,
    pub(super) frames: Frames,
    /// What may still be read into memory.
    room: AtomicU64,
}

impl<'f> Opening<'f> {
    pub(super) async fn begin(file: &'f Windowed) -> Result<Self, Error> {
        let (name, size) = (file.source().name(), file.source().size());
        let not = |reason: &str| Error::not_a_bundle(&name, reason);
        let header = file.read(0..size.min(frame::HEADER.len() as u64)).await?;
        if header[..] != frame::HEADER {
            return Err(not("it was not written by this tool"));
        }
        let length = frame::unframed_size(size)
            .ok_or_else(|| not("its size is not that of a bundle: it may be cut off"))?;
        let room = AtomicU64::new(MAX_MANIFESTS);
        Ok(Self { file, frames: Frames::outer(length), room })
    }

    pub(super) fn not(&self, reason: impl Into<String>) -> Error {
        Error::not_a_bundle(self.file.source().name(), reason)
    }

    /// What its document says does not stand in it.
    fn cut_off(&self) -> Error {
        let source = self.file.source();
        let (name, size) = (source.name(), source.size());
        Error::damaged(format!(
            "{name}: it was cut off, or its bundle.json is wrong, which names more than the {size} \
             bytes that are there"
        ))
    }

    /// Takes so many bytes into memory.
    fn take_room(&self, bytes: u64) -> Result<(), Error> {
        let left = self.room.load(Ordering::Relaxed).checked_sub(bytes);
        let left = left.ok_or_else(|| self.not("its image manifests are too large"))?;
        self.room.store(left, Ordering::Relaxed);
        Ok(())
    }

    async fn tar(&self, range: Range<u64>) -> Result<Bytes, Error> {
        read_tar(self.file, self.frames, range).await
    }

    /// The document, and where the entry after it begins.
    pub(super) async fn document(&self) -> Result<(BundleDocument, u64), Error> {
        let without = |_| self.not("it has no bundle.json");
        let header = self.tar(0..entry::BLOCK).await?;
        let header = tokio_tar::Header::from_byte_slice(&header);
        let path = header.path().map_err(without)?;
        let size = header.raw_entry_size().map_err(without)?;
        if !path.ends_with(FILE_NAME) || size > MAX_DOCUMENT {
            return Err(self.not("it does not begin with bundle.json"));
        }
        let text = self.tar(entry::BLOCK..entry::BLOCK + size).await?;
        let unreadable = |error| self.not(format!("bundle.json is not readable: {error}"));
        let Versioned { format_version: version } =
            serde_json::from_slice(&text).map_err(unreadable)?;
        if version != FORMAT_VERSION {
            let reason = format!("its format version {version} is not known to this version");
            return Err(self.not(reason));
        }
        let document: BundleDocument = serde_json::from_slice(&text).map_err(unreadable)?;
        let stem = document.stem();
        if *path != *Path::new(&stem).join(FILE_NAME) {
            let path = path.display().to_string();
            let path = path.escape_debug();
            let reason = format!("it begins with `{path}`, and its bundle.json is that of {stem}");
            return Err(self.not(reason));
        }
        Ok((document, entry::BLOCK + size.next_multiple_of(entry::BLOCK)))
    }

    /// Where the entry after another begins.
    pub(super) fn after(
        &self,
        document: &BundleDocument,
        path: &str,
        at: u64,
        size: u64,
    ) -> Result<u64, Error> {
        let end = bytes_at(document, path, at)?.checked_add(size);
        let end = end.and_then(|end| end.checked_next_multiple_of(entry::BLOCK));
        end.filter(|end| *end <= self.frames.length()).ok_or_else(|| self.cut_off())
    }

    pub(super) async fn stored_images(
        &self,
        document: &BundleDocument,
        start: u64,
    ) -> Result<Vec<ArchiveImage>, Error> {
        let Some(store) = &document.store else { return Ok(Vec::new()) };
        let manifests = self.manifests(self.frames, start, &store.blobs).await?;
        let placed = digests(&store.blobs);
        let images = store.images.iter().map(|image| {
            let root = manifests.get(&image.digest);
            let root = root.ok_or_else(|| self.not(format!("{} is missing", image.reference)))?;
            // It is held once for all images, and read for each.
            self.take_room(root.descriptor().size)?;
            let children = manifests_below(root, &manifests)?;
            self.take_room(children.len() as u64 * MANIFEST)?;
            let mut read = archive_image(&image.reference, root.clone(), children)?;
            read.platform.clone_from(&image.platform);
            read.absent.clone_from(&image.absent);
            note_unavailable(&mut read, &placed)?;
            Ok(read)
        });
        images.collect()
    }

    pub(super) async fn archived_images(
        &self,
        document: &BundleDocument,
        start: u64,
    ) -> Result<Vec<ArchiveImage>, Error> {
        let stored = document.store.as_ref().and_then(|store| store.blobs.last());
        let mut at = match stored {
            None => start,
            Some(last) => {
                let end = start.checked_add(last.offset);
                let end = end.and_then(|end| end.checked_add(last.descriptor.size));
                let end = end.and_then(|end| end.checked_next_multiple_of(entry::BLOCK));
                end.ok_or_else(|| self.cut_off())?
            }
        };
        let mut images = Vec::new();
        for file in document.archives() {
            let Some(image) = &file.image else { continue };
            let not = |reason: &str| self.not(format!("{}: {reason}", file.path));
            let length =
                frame::unframed_size(file.size).ok_or_else(|| not("its size cannot be"))?;
            let bytes_at = bytes_at(document, &file.path, at)?;
            at = self.after(document, &file.path, at, file.size)?;
            let frames = self.frames.nested(bytes_at, length);
            let manifests = self.manifests(frames, 0, &image.blobs).await?;
            let mut seen = HashSet::new();
            let once = image.blobs.iter().map(|blob| blob.descriptor.digest);
            let once = once.filter(|digest| seen.insert(*digest));
            let mut all = once.filter_map(|digest| manifests.get(&digest)).cloned();
            let root = all.next().ok_or_else(|| not("it holds no image manifest"))?;
            let mut read = archive_image(&image.reference, root, all.collect())?;
            read.platform.clone_from(&image.platform);
            read.absent.clone_from(&image.absent);
            note_unavailable(&mut read, &digests(&image.blobs))?;
            images.push(read);
        }
        Ok(images)
    }

    /// Reads the manifests among blobs whose offsets count from `start`.
    async fn manifests(
        &self,
        frames: Frames,
        start: u64,
        blobs: &[PlacedBlob],
    ) -> Result<HashMap<Digest, RawManifest>, Error> {
        let mut manifests = HashMap::new();
        for PlacedBlob { descriptor, offset } in blobs {
            if !RawManifest::is_manifest_type(&descriptor.media_type) {
                break;
            }
            if descriptor.size > MAX_MANIFEST_BYTES {
                return Err(self.not("an image manifest is too large"));
            }
            self.take_room(descriptor.size + MANIFEST)?;
            let from = start.checked_add(*offset);
            let range = from.and_then(|from| Some(from..from.checked_add(descriptor.size)?));
            let range = range.filter(|range| range.end <= frames.length());
            let range = range.ok_or_else(|| self.cut_off())?;
            let bytes = read_tar(self.file, frames, range).await?;
            let (algorithm, kind) = (descriptor.digest.algorithm(), &descriptor.media_type);
            let manifest = RawManifest::with_algorithm(algorithm, kind, bytes);
            if manifest.digest() != descriptor.digest {
                return Err(Error::damaged(format!(
                    "{}: an image manifest has digest {}, and not {}",
                    self.file.source().name(),
                    manifest.digest(),
                    descriptor.digest
                )));
            }
            manifests.insert(descriptor.digest, manifest);
        }
        Ok(manifests)
    }
}

/// Where the bytes of an entry begin.
fn bytes_at(document: &BundleDocument, path: &str, at: u64) -> Result<u64, Error> {
    let stem = document.stem();
    let header = entry::file(&format!("{stem}/{path}"), entry::FILE_MODE, 0, 0)?;
    let bytes = at.checked_add(header.len() as u64);
    bytes.ok_or_else(|| Error::not_a_bundle(path, "it points beyond its own end"))
}

pub(super) fn content_file(file: &BundleFile) -> Option<ContentFile> {
    let (path, size, digest) = (file.path.clone(), file.size, file.digest?);
    Some(ContentFile { path, mode: file.permissions(), size, digest, bytes: None })
}

fn archive_image(
    reference: &str,
    root: RawManifest,
    children: Vec<RawManifest>,
) -> Result<ArchiveImage, Error> {
    let named: Result<Reference, _> = reference.parse();
    let reference = named.map_err(|error| Error::damaged(format!("bundle.json: {error}")))?;
    let repository = reference.repository().clone();
    let (platform, absent, unavailable) = (None, Vec::new(), Vec::new());
    Ok(ArchiveImage { reference, repository, platform, root, children, absent, unavailable })
}

fn digests(blobs: &[PlacedBlob]) -> HashSet<Digest> {
    blobs.iter().map(|blob| blob.descriptor.digest).collect()
}

/// The layers that registries need not hold come along if they were available.
fn note_unavailable(image: &mut ArchiveImage, placed: &HashSet<Digest>) -> Result<(), Error> {
    let layers = image.nondistributable_layers()?.into_iter().map(|layer| layer.digest);
    image.unavailable = layers.filter(|layer| !placed.contains(layer)).collect();
    Ok(())
}

#[cfg(test)]
mod tests {
    use compass_registry::media_type;
    use serde_json::json;

    use crate::write::encode::SegmentEncoder;
    use crate::{Bundle, frame};

    use super::*;

    /// A bundle that begins with this document, and these bytes behind it.
    fn bundle(document: &serde_json::Value, bytes: &[u8]) -> Vec<u8> {
        let stem = if document["kind"] == "plugin" { "compass-plugins-" } else { "" };
        let document = document.to_string();
        let mut header = tokio_tar::Header::new_ustar();
        header.set_path(format!("{stem}compass-v2.7.0/bundle.json")).unwrap();
        header.set_size(document.len() as u64);
        header.set_cksum();
        let mut tar = [header.as_bytes(), document.as_bytes()].concat();
        tar.resize(tar.len().next_multiple_of(512), 0);
        tar.extend_from_slice(bytes);
        let mut file = frame::HEADER.to_vec();
        let frames = Frames::outer(tar.len() as u64);
        SegmentEncoder::at(frames, 0).push(&tar, |piece| file.extend_from_slice(piece));
        file.extend_from_slice(&[0; 8]);
        file
    }

    /// A manifest that is as large as manifests can be, with blanks before it.
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
    async fn a_manifest_that_an_archive_names_again_and_again_is_taken_once() {
        let layer = json!({
            "mediaType": media_type::OCI_LAYER, "size": 1, "digest": Digest::of(b"a"),
        });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": layer,
            "layers": [layer],
        });
        let manifest = large(media_type::OCI_MANIFEST, &manifest);
        let mut tar = vec![0; 512];
        tar.extend_from_slice(manifest.bytes());
        let mut archive = frame::HEADER.to_vec();
        let frames = Frames::outer(tar.len() as u64);
        SegmentEncoder::at(frames, 0).push(&tar, |piece| archive.extend_from_slice(piece));
        archive.extend_from_slice(&[0; 8]);
        let mut blob = serde_json::to_value(manifest.descriptor()).unwrap();
        blob["offset"] = json!(512);
        let mut again = blob.clone();
        again["mediaType"] = json!("x");
        let blobs: Vec<_> = std::iter::once(blob).chain(vec![again; 1000]).collect();
        let platform = json!({"os": "linux", "architecture": "amd64"});
        let document = json!({
            "formatVersion": FORMAT_VERSION, "kind": "plugin", "name": "compass",
            "version": "v2.7.0", "modified": 0,
            "files": [{
                "path": "a-image.tar.gz", "size": archive.len(),
                "image": {
                    "reference": "h.example/a:v1", "digest": manifest.digest(),
                    "platform": platform, "singlePlatform": platform, "blobs": blobs,
                },
            }],
        });
        let mut bytes = [&[0; 512], &archive[..]].concat();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        let told = refusal(&document, &bytes).await;
        assert!(told.contains("were written"), "{told}");
    }

    #[tokio::test]
    async fn a_large_manifest_of_a_thousand_images_is_not_read_a_thousand_times() {
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
        blob["offset"] = json!(0);
        let document = json!({
            "formatVersion": FORMAT_VERSION, "kind": "product", "name": "compass",
            "version": "v2.7.0", "modified": 0, "files": [],
            "store": {"path": "images", "images": images, "blobs": [blob]},
        });
        let refused = refusal(&document, index.bytes()).await;
        assert!(refused.contains("its image manifests are too large"), "{refused}");
    }

    #[tokio::test]
    async fn a_list_of_next_to_nothing_is_not_longer_than_any_list() {
        let file = json!({"path": "", "size": 0});
        let document = json!({
            "formatVersion": FORMAT_VERSION, "kind": "plugin", "name": "compass",
            "version": "v2.7.0", "modified": 0, "files": vec![file; 50_001],
        });
        let told = refusal(&document, b"").await;
        assert!(told.contains("expected a list of at most 50000"), "{told}");
    }
}
