//! OCI image layouts (OCI image specification, "Image Layout") and skopeo's `dir:` format.

use std::collections::HashSet;

use compass_registry::internal::{
    MAX_IMAGE_MANIFESTS_BYTES, MAX_INDEX_DEPTH, media_type_of, sniff_media_type,
};
use compass_registry::{ANNOTATION_REF_NAME, Descriptor, Digest, Manifest, Platform, RawManifest};
use serde::Deserialize;
use serde_json::Value;

use super::layers::{Layer, layer_problems, unusual_compression};
use super::names::{Name, read_name, read_ref_name};
use super::{ArchiveContext, ImageCandidate};
use crate::foreign::archive::{OCI_LAYOUT, ScannedEntry};
use crate::{Error, diff_ids};

/// The only version of OCI layouts.
const KNOWN_VERSION: &str = "1.0.0";

#[derive(Deserialize)]
struct Index {
    manifests: Option<Vec<Value>>,
}

/// Reads the images that `index.json` lists.
pub(super) fn read_index(archive: &mut ArchiveContext<'_>) -> Result<Vec<ImageCandidate>, Error> {
    let Some((_, index)) = archive.scanned.get("index.json") else { return Ok(Vec::new()) };
    require_known_version(archive)?;
    let index: Index = archive.parse("index.json", &index.head)?;
    let mut candidates: Vec<ImageCandidate> = Vec::new();
    for entry in index.manifests.unwrap_or_default() {
        let named: Descriptor = serde_json::from_value(entry.clone())
            .map_err(|error| archive.damaged(format!("index.json is unreadable: {error}")))?;
        // The specification allows other media types, which must not cause an error.
        if !named.is_manifest() {
            let (kind, digest) = (named.media_type.escape_debug(), named.digest);
            let what = format!(
                "index.json lists {digest} with the media type `{kind}`, which is not an image"
            );
            archive.found.notes.push(archive.problem(what));
            continue;
        }
        let mut candidate = ManifestTree::read(archive, &named, blob_path)?;
        add_names(archive, &entry, &mut candidate);
        let same = candidates.iter_mut().find(|other| other.root.digest() == named.digest);
        match same {
            // The image is listed under several names.
            Some(same) => {
                for name in candidate.names {
                    same.add_name(name);
                }
                same.problems.extend(candidate.problems);
                same.tag = same.tag.take().or(candidate.tag);
            }
            None => candidates.push(candidate),
        }
    }
    Ok(candidates)
}

/// Rejects layouts of unknown versions, whose blobs may have other paths. Some tools omit the
/// version file.
fn require_known_version(archive: &ArchiveContext<'_>) -> Result<(), Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Layout {
        image_layout_version: String,
    }
    let Some((_, entry)) = archive.scanned.get(OCI_LAYOUT) else { return Ok(()) };
    let Layout { image_layout_version: version } = archive.parse(OCI_LAYOUT, &entry.head)?;
    if version == KNOWN_VERSION {
        return Ok(());
    }
    let version = truncate_untrusted(&version);
    Err(archive.damaged(format!(
        "{OCI_LAYOUT} has the version `{version}`; the only supported version is {KNOWN_VERSION}"
    )))
}

/// Reads the image of a `dir:` directory: `manifest.json` is its manifest, blobs are beside it.
pub(super) fn read_directory(archive: &mut ArchiveContext<'_>) -> Result<ImageCandidate, Error> {
    let missing = || Error::damaged("manifest.json is missing");
    let (_, entry) = archive.scanned.get("manifest.json").ok_or_else(missing)?;
    let kind = sniff_media_type(&entry.head)
        .ok_or_else(|| archive.damaged("manifest.json is not an image manifest"))?;
    let root = Descriptor {
        media_type: kind,
        digest: entry.digests.named,
        size: entry.size(),
        platform: None,
    };
    let digest = root.digest;
    ManifestTree::read(archive, &root, |named| match *named == digest {
        true => "manifest.json".to_owned(),
        false => named.hex(),
    })
}

/// Adds the names in annotations. A tag without a repository is used only if there is no other
/// name.
fn add_names(archive: &ArchiveContext<'_>, entry: &Value, candidate: &mut ImageCandidate) {
    let annotation = |key: &str| entry["annotations"][key].as_str();
    match annotation("io.containerd.image.name").map(read_name) {
        Some(Name::Full(name)) => candidate.add_name(name),
        Some(Name::Invalid) => {
            let what = "index.json has an annotation `io.containerd.image.name` that is not a valid image name";
            candidate.problems.push(archive.problem(what));
        }
        _ => {}
    }
    match annotation(ANNOTATION_REF_NAME).map(read_ref_name) {
        Some(Name::Full(name)) if candidate.names.is_empty() => candidate.add_name(name),
        Some(Name::Tag(tag)) => candidate.tag = Some(tag),
        // The specification allows any text as a value.
        Some(Name::Invalid) => {
            let what =
                "its annotation `org.opencontainers.image.ref.name` is not a valid image name";
            candidate.notes.push(archive.problem(what));
        }
        _ => {}
    }
}

/// Path of a blob in a layout.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// Reads a manifest with everything below it.
struct ManifestTree<'t, 'a, P> {
    archive: &'t mut ArchiveContext<'a>,
    path: P,
    children: Vec<RawManifest>,
    configs: Vec<Digest>,
    bytes: u64,
    seen: HashSet<Digest>,
    problems: Vec<String>,
    notes: Vec<String>,
    unavailable: Vec<(Digest, Option<String>)>,
}

impl<'a, P: Fn(&Digest) -> String> ManifestTree<'_, 'a, P> {
    fn read(
        archive: &mut ArchiveContext<'a>,
        named: &Descriptor,
        path: P,
    ) -> Result<ImageCandidate, Error> {
        let mut tree = ManifestTree {
            archive,
            path,
            children: Vec::new(),
            configs: Vec::new(),
            bytes: 0,
            seen: HashSet::new(),
            problems: Vec::new(),
            notes: Vec::new(),
            unavailable: Vec::new(),
        };
        let root = tree.manifest(named)?;
        let mut level = tree.add(&root, 0)?;
        for depth in 1.. {
            let mut below = Vec::new();
            for named in level {
                let child = tree.manifest(&named)?;
                below.extend(tree.add(&child, depth)?);
                tree.compare_platform(&named, &child)?;
                tree.children.push(child);
            }
            if below.is_empty() {
                break;
            }
            level = below;
        }
        let ManifestTree { children, configs, problems, notes, unavailable, .. } = tree;
        let config = (!root.is_index()).then(|| configs.first().copied()).flatten();
        Ok(ImageCandidate {
            root,
            children,
            config,
            configs,
            names: Vec::new(),
            tag: None,
            from_index: true,
            problems,
            notes,
            unavailable,
        })
    }

    /// Checks the content of a manifest, and returns the manifests of the next level.
    fn add(&mut self, manifest: &RawManifest, depth: usize) -> Result<Vec<Descriptor>, Error> {
        let parsed = manifest.parse().map_err(|error| self.archive.damaged(error))?;
        match parsed {
            Manifest::Image { config, layers } => {
                self.configs.push(config.digest);
                self.check_image(manifest, &config, &layers)?;
                Ok(Vec::new())
            }
            Manifest::Index(_) if depth >= MAX_INDEX_DEPTH => {
                let what = format!("indexes are nested more than {MAX_INDEX_DEPTH} deep");
                Err(self.archive.damaged(what))
            }
            Manifest::Index(entries) => {
                self.archive.reserve(entries.len(), 1)?;
                // Indexes of build caches list blobs.
                let (images, blobs): (Vec<_>, _) =
                    entries.into_iter().partition(Descriptor::is_manifest);
                for blob in &blobs {
                    self.blob(manifest, blob);
                }
                Ok(self.present_manifests(manifest, depth, images, blobs.is_empty()))
            }
        }
    }

    /// Adds a note if an index and a configuration name different platforms for an image.
    ///
    /// Tools select an image by the platform in the index.
    fn compare_platform(&mut self, named: &Descriptor, image: &RawManifest) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Config {
            os: String,
            architecture: String,
        }
        let parsed = image.parse().map_err(|error| self.archive.damaged(error))?;
        let (Some(platform), Manifest::Image { config, .. }) = (&named.platform, parsed) else {
            return Ok(());
        };
        let Some((_, entry)) = self.find(&config.digest) else { return Ok(()) };
        // Attestations and other artifacts have configurations of other formats.
        let Ok(Config { os, architecture }) = serde_json::from_slice(&entry.head) else {
            return Ok(());
        };
        let own = Platform::new(os, architecture);
        if !own.satisfies(&Platform::new(&platform.os, &platform.architecture)) {
            let digest = named.digest;
            let (own, said) =
                (truncate_untrusted(&own.to_string()), truncate_untrusted(&platform.to_string()));
            let what = format!(
                "the platform of {digest} is {said} in its index, but {own} in its configuration"
            );
            self.notes.push(self.archive.problem(what));
        }
        Ok(())
    }

    /// The manifests of an index that the archive contains. Docker saves indexes without the images
    /// of other platforms.
    fn present_manifests(
        &mut self,
        index: &RawManifest,
        depth: usize,
        images: Vec<Descriptor>,
        must_have_images: bool,
    ) -> Vec<Descriptor> {
        let is_there = |image: &Descriptor| self.find(&image.digest).is_some();
        let (there, absent): (Vec<_>, Vec<_>) = images.into_iter().partition(is_there);
        let digest = index.digest();
        if there.is_empty() && must_have_images {
            let what = format!("the archive contains no image of the index {digest}");
            self.problems.push(self.archive.problem(what));
        } else if !absent.is_empty() {
            let names: Vec<_> = absent.iter().map(display_name).collect();
            let what = format!(
                "the index {digest} lists images that the archive omits: {}",
                names.join(", ")
            );
            match depth {
                0 => self.notes.push(self.archive.problem(what)),
                _ => self.problems.push(self.archive.problem(what)),
            }
        }
        there.into_iter().filter(|image| self.seen.insert(image.digest)).collect()
    }

    fn manifest(&mut self, named: &Descriptor) -> Result<RawManifest, Error> {
        let path = (self.path)(&named.digest);
        let (own_path, entry) = self
            .find(&named.digest)
            .ok_or_else(|| self.archive.damaged(format!("{path} is missing")))?;
        self.archive.found.used.insert(own_path.to_owned());
        self.archive.reserve_json(&entry.head)?;
        self.bytes += entry.size();
        if self.bytes > MAX_IMAGE_MANIFESTS_BYTES {
            let what =
                format!("an image has more than {MAX_IMAGE_MANIFESTS_BYTES} bytes of manifests");
            return Err(self.archive.damaged(what));
        }
        let kind = media_type_of(&entry.head, Some(&named.media_type));
        let kind =
            kind.ok_or_else(|| self.archive.damaged(format!("{path} is not an image manifest")))?;
        let algorithm = named.digest.algorithm();
        let manifest = RawManifest::with_algorithm(algorithm, kind, entry.head.clone());
        if manifest.digest() != named.digest {
            return Err(self.archive.damaged(format!("{path} is damaged")));
        }
        self.require_size(named, entry);
        Ok(manifest)
    }

    /// Checks that the blobs of an image exist and match their descriptors.
    fn check_image(
        &mut self,
        manifest: &RawManifest,
        config: &Descriptor,
        layers: &[Descriptor],
    ) -> Result<(), Error> {
        self.archive.reserve(layers.len(), 1)?;
        let config_entry = self.blob(manifest, config);
        let (is_of_files, mut described) = (diff_ids::are_compared(config, layers), Vec::new());
        for layer in layers {
            let entry = self.blob(manifest, layer);
            if let (true, Some(entry)) = (is_of_files, entry) {
                let unusual = unusual_compression(layer, entry);
                self.notes.extend(unusual.map(|what| self.archive.problem(what)));
            }
            described.push(Layer { name: layer.digest.to_string(), entry });
        }
        let is_missing = |layer: &Layer<'_>, descriptor: &Descriptor| {
            layer.entry.is_none() && !descriptor.is_nondistributable()
        };
        if let Some(entry) = config_entry
            && is_of_files
            && !described
                .iter()
                .zip(layers)
                .any(|(layer, descriptor)| is_missing(layer, descriptor))
        {
            self.archive.reserve_json(&entry.head)?;
            self.problems.extend(layer_problems(self.archive, entry, &described));
        }
        Ok(())
    }

    /// The entry of a blob, if it exists and matches.
    fn blob(&mut self, manifest: &RawManifest, blob: &Descriptor) -> Option<&'a ScannedEntry> {
        let path = (self.path)(&blob.digest);
        let Some((own, entry)) = self.find(&blob.digest) else {
            match blob.is_nondistributable() {
                true => self.unavailable.push((blob.digest, address_of(manifest, blob))),
                false => self.problems.push(self.archive.problem(format!("{path} is missing"))),
            }
            return None;
        };
        self.archive.add_blob(blob.digest, own, false);
        if !has_digest(entry, blob.digest) {
            self.problems.push(self.archive.problem(format!("{path} is damaged")));
            return None;
        }
        self.require_size(blob, entry);
        Some(entry)
    }

    /// The entry with a digest. Skopeo's `dir:` adds a suffix to manifests below an index.
    fn find(&self, digest: &Digest) -> Option<(&'a str, &'a ScannedEntry)> {
        let (path, scanned) = ((self.path)(digest), self.archive.scanned);
        scanned.get(&path).or_else(|| scanned.get(&format!("{path}.manifest.json")))
    }

    fn require_size(&mut self, named: &Descriptor, entry: &ScannedEntry) {
        if named.size != entry.size() {
            let (digest, named, own) = (named.digest, named.size, entry.size());
            let what = format!("{digest} has {own} bytes, but its descriptor says {named}");
            self.problems.push(self.archive.problem(what));
        }
    }
}

fn has_digest(entry: &ScannedEntry, digest: Digest) -> bool {
    [entry.digests.named, entry.digests.sha256].contains(&digest)
}

/// Shortens and escapes untrusted text for a message.
fn truncate_untrusted(text: &str) -> String {
    let text: String = text.chars().take(60).collect();
    text.escape_debug().to_string()
}

fn display_name(image: &Descriptor) -> String {
    image.platform.as_ref().map_or_else(|| image.digest.to_string(), Platform::to_string)
}

/// The first download address of a layer.
fn address_of(manifest: &RawManifest, layer: &Descriptor) -> Option<String> {
    #[derive(Deserialize)]
    struct Layers {
        layers: Vec<Urls>,
    }
    #[derive(Deserialize)]
    struct Urls {
        digest: String,
        #[serde(default)]
        urls: Option<Vec<String>>,
    }
    let all: Layers = serde_json::from_slice(manifest.bytes()).ok()?;
    let digest = layer.digest.to_string();
    all.layers.into_iter().find(|layer| layer.digest == digest)?.urls?.into_iter().next()
}
