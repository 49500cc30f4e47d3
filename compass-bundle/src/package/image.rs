//! The images of an archive: of an OCI layout, or of what `docker save` writes.

use compass_registry::{
    Descriptor, Digest, Manifest, RawManifest, Reference, media_type, sniff_media_type,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::archive::ScannedArchive;
use super::unnamed;
use super::walk::named_digest;
use crate::Error;

/// An image of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageImage {
    /// The archive that it stands in.
    pub archive: String,
    /// What it is named there; images without a name are under `localhost/unnamed`.
    pub reference: Reference,
    /// Its manifest; where the archive has none, the one that a registry will have.
    pub root: RawManifest,
    /// The image manifests of an image index.
    pub children: Vec<RawManifest>,
    /// Digest of the configuration, of a single image.
    pub config: Option<Digest>,
    /// What is wrong with it.
    pub problems: Vec<String>,
}

impl PackageImage {
    /// Its manifest, and where that is an index, the image manifests after it.
    pub fn manifests(&self) -> impl Iterator<Item = &RawManifest> {
        std::iter::once(&self.root).chain(&self.children)
    }
}

/// Layers of one image, or images of one index. No kernel mounts as many.
const MAX_LISTED: usize = 1000;

/// What the images of a package list, counted again for every name of an image.
const MAX_LISTED_BY_ALL: usize = 200_000;

/// The images of a package, as they are found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) images: Vec<PackageImage>,
    /// The blobs of the archive at hand, and the entries that hold them.
    pub(super) blobs: Vec<(Digest, String)>,
    listed: usize,
}

impl Found {
    /// Few bytes may name much, and all of it again and again: what comes is counted before it is
    /// taken to mind.
    fn expect(&mut self, archive: &str, listed: usize, names: usize) -> Result<(), Error> {
        self.listed = self.listed.saturating_add(names.saturating_mul(listed.max(1)));
        if listed > MAX_LISTED || self.listed > MAX_LISTED_BY_ALL {
            let what = "it names more images and layers than anyone makes";
            return Err(Error::damaged(format!("{archive}: {what}")));
        }
        Ok(())
    }

    /// As [`Self::expect`] for JSON that is to be parsed.
    fn expect_json(&mut self, archive: &str, json: &[u8]) -> Result<(), Error> {
        let blocks = json.len() >> 13;
        self.expect(archive, blocks, 1)
    }
}

#[derive(Deserialize)]
struct DockerImage {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags", default)]
    tags: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Value>,
}

/// Adds the images of an archive. Where it is an OCI layout as well as a docker archive, the layout
/// counts: it has the registry's own digests.
pub(super) fn find(
    archive: &str,
    scanned: &ScannedArchive,
    found: &mut Found,
) -> Result<(), Error> {
    if let Some((_, index)) = scanned.get("index.json") {
        return layout_images(archive, scanned, &index.head, found);
    }
    let Some((_, manifest)) = scanned.get("manifest.json") else { return Ok(()) };
    let images: Vec<DockerImage> = parse(archive, "manifest.json", &manifest.head)?;
    images.iter().try_for_each(|image| docker_images(archive, scanned, image, found))
}

fn parse<'j, T: Deserialize<'j>>(archive: &str, name: &str, json: &'j [u8]) -> Result<T, Error> {
    serde_json::from_slice(json)
        .map_err(|error| Error::damaged(format!("{archive}: {name} is not readable: {error}")))
}

/// An image of `docker save`: each of its names is one.
fn docker_images(
    archive: &str,
    scanned: &ScannedArchive,
    image: &DockerImage,
    found: &mut Found,
) -> Result<(), Error> {
    let missing = |path: &str| Error::damaged(format!("{archive}: {path} is missing"));
    let (config_path, config) = scanned.get(&image.config).ok_or_else(|| missing(&image.config))?;
    let names = image.tags.as_ref().map_or(0, Vec::len).max(1);
    found.expect(archive, image.layers.len(), names)?;
    found.expect_json(archive, &config.head)?;
    found.blobs.push((config.digest, config_path.to_owned()));
    let mut layers = Vec::new();
    for path in &image.layers {
        let (path, layer) = scanned.get(path).ok_or_else(|| missing(path))?;
        found.blobs.push((layer.digest, path.to_owned()));
        layers.push((layer_type(&layer.head), layer.digest, layer.size));
    }
    let described: Vec<_> = layers
        .iter()
        .map(|(kind, digest, size)| json!({"mediaType": kind, "digest": digest, "size": size}))
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": {
            "mediaType": media_type::OCI_CONFIG, "digest": config.digest, "size": config.size,
        },
        "layers": described,
    });
    let root = RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string());
    let mut problems = wrong_names(archive, scanned, image);
    problems.extend(wrong_layers(archive, &config.head, &layers));
    let mut references = Vec::new();
    for tag in image.tags.iter().flatten() {
        references.push(full_reference(tag)?);
    }
    if references.is_empty() {
        references.push(unnamed(archive, &config.digest)?);
    }
    found.images.extend(references.into_iter().map(|reference| PackageImage {
        archive: archive.to_owned(),
        reference,
        root: root.clone(),
        children: Vec::new(),
        config: Some(config.digest),
        problems: problems.clone(),
    }));
    Ok(())
}

/// Docker leaves its own registry out of names.
fn full_reference(name: &str) -> Result<Reference, Error> {
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    let is_host = first.contains(['.', ':']) || first == "localhost";
    let full = match (is_host, first) {
        (true, _) => name.to_owned(),
        (false, "") => format!("docker.io/library/{rest}"),
        (false, _) => format!("docker.io/{name}"),
    };
    Ok(full.parse()?)
}

/// Where names are digests, the content has them.
fn wrong_names(archive: &str, scanned: &ScannedArchive, image: &DockerImage) -> Vec<String> {
    let named = std::iter::once((&image.config, config_digest(&image.config)))
        .chain(image.layers.iter().map(|path| (path, named_digest(path))));
    let wrong = named.filter(|(path, digest)| {
        let content = scanned.get(path).map(|(_, entry)| entry.digest);
        digest.is_some_and(|digest| content != Some(digest))
    });
    wrong.map(|(path, _)| format!("{archive}: {path} is damaged")).collect()
}

/// The digest that a configuration's name says. Its forms: `<hex>.json` of Docker, those of blobs,
/// and the digest itself.
fn config_digest(path: &str) -> Option<Digest> {
    let hex = path.strip_suffix(".json").unwrap_or_default();
    named_digest(path).or_else(|| sha256(hex)).or_else(|| sha256(path.strip_prefix("sha256:")?))
}

fn sha256(hex: &str) -> Option<Digest> {
    format!("sha256:{hex}").parse().ok()
}

/// Uncompressed layers have the digests that the configuration names.
fn wrong_layers(archive: &str, config: &[u8], layers: &[(&str, Digest, u64)]) -> Vec<String> {
    let config: Value = serde_json::from_slice(config).unwrap_or_default();
    let Some(expected) = config["rootfs"]["diff_ids"].as_array() else {
        return vec![format!("{archive}: the configuration names no layers")];
    };
    if expected.len() != layers.len() {
        let (named, there) = (expected.len(), layers.len());
        return vec![format!("{archive}: the configuration names {named} layers, of {there}")];
    }
    let plain = |kind: &str| kind == media_type::OCI_LAYER;
    let wrong = layers.iter().zip(expected).filter(|((kind, digest, _), expected)| {
        plain(kind) && expected.as_str() != Some(&digest.to_string())
    });
    wrong
        .map(|((_, digest, _), expected)| {
            format!("{archive}: a layer has digest {digest}, and not {expected}")
        })
        .collect()
}

fn layer_type(head: &[u8]) -> &'static str {
    match head {
        [0x1f, 0x8b, ..] => media_type::OCI_LAYER_GZIP,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => media_type::OCI_LAYER_ZSTD,
        _ => media_type::OCI_LAYER,
    }
}

fn layout_images(
    archive: &str,
    scanned: &ScannedArchive,
    index: &[u8],
    found: &mut Found,
) -> Result<(), Error> {
    let index: Index = parse(archive, "index.json", index)?;
    for entry in &index.manifests {
        let named: Descriptor = serde_json::from_value(entry.clone()).map_err(|error| {
            Error::damaged(format!("{archive}: index.json is not readable: {error}"))
        })?;
        let mut reading = Layout { archive, scanned, found: &mut *found, problems: Vec::new() };
        let root = reading.manifest(&named.digest)?;
        let (mut children, mut config) = (Vec::new(), None);
        match root.parse()? {
            Manifest::Image { config: own, layers } => {
                config = Some(own.digest);
                reading.require(&own, &layers)?;
            }
            Manifest::Index(images) => {
                reading.found.expect(archive, images.len(), 1)?;
                for image in images {
                    // Docker keeps indexes of which not every platform is there.
                    if scanned.get(&path(&image.digest)).is_none() {
                        continue;
                    }
                    let child = reading.manifest(&image.digest)?;
                    if let Manifest::Image { config, layers } = child.parse()? {
                        reading.require(&config, &layers)?;
                    }
                    children.push(child);
                }
            }
        }
        let name = entry["annotations"]["io.containerd.image.name"].as_str();
        let reference = name
            .or_else(|| entry["annotations"]["org.opencontainers.image.ref.name"].as_str())
            .and_then(|name| name.parse().ok());
        let reference = match reference {
            Some(reference) => reference,
            None => unnamed(archive, &named.digest)?,
        };
        let Layout { problems, .. } = reading;
        let archive = archive.to_owned();
        let image = PackageImage { archive, reference, root, children, config, problems };
        found.images.push(image);
    }
    Ok(())
}

/// An OCI layout of which the blobs are gathered.
struct Layout<'a> {
    archive: &'a str,
    scanned: &'a ScannedArchive,
    found: &'a mut Found,
    problems: Vec<String>,
}

impl Layout<'_> {
    fn manifest(&mut self, digest: &Digest) -> Result<RawManifest, Error> {
        let path = path(digest);
        let missing = || Error::damaged(format!("{}: {path} is missing", self.archive));
        let (_, entry) = self.scanned.get(&path).ok_or_else(missing)?;
        self.found.expect_json(self.archive, &entry.head)?;
        let kind = sniff_media_type(&entry.head).ok_or_else(missing)?;
        let manifest = RawManifest::known_by(digest.algorithm(), kind, entry.head.clone());
        if manifest.digest() != *digest {
            return Err(Error::damaged(format!("{}: {path} is damaged", self.archive)));
        }
        Ok(manifest)
    }

    fn require(&mut self, config: &Descriptor, layers: &[Descriptor]) -> Result<(), Error> {
        self.found.expect(self.archive, layers.len(), 1)?;
        for blob in std::iter::once(config).chain(layers) {
            let path = path(&blob.digest);
            match self.scanned.get(&path) {
                _ if blob.is_held_elsewhere() => {}
                None => self.problems.push(format!("{}: {path} is missing", self.archive)),
                Some((own, entry)) => {
                    if entry.digest != blob.digest {
                        self.problems.push(format!("{}: {path} is damaged", self.archive));
                    }
                    self.found.blobs.push((blob.digest, own.to_owned()));
                }
            }
        }
        Ok(())
    }
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}
