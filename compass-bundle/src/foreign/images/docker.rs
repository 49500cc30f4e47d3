//! Images in the format of `docker save`: `manifest.json`.

use compass_registry::{Digest, Manifest, RawManifest, Reference, media_type};
use serde::Deserialize;
use serde_json::json;

use super::layers::{Layer, layer_problems};
use super::names::{Name, read_name};
use super::{ArchiveContext, ImageCandidate};
use crate::Error;
use crate::foreign::archive::ScannedEntry;
use crate::foreign::compression::Compression;
use crate::foreign::entry_content::EntryContent;
use crate::foreign::entry_path::named_digest;

/// An image in `manifest.json`. As in Go, `null` lists are empty and keys are case-insensitive.
#[derive(Deserialize)]
struct DockerImage {
    #[serde(rename = "Config", alias = "config")]
    config: String,
    #[serde(rename = "RepoTags", alias = "repoTags", alias = "repotags", default)]
    tags: Option<Vec<Option<String>>>,
    #[serde(rename = "Layers", alias = "layers", default)]
    layers: Option<Vec<String>>,
}

/// The files of an image, with their paths.
struct Files<'e> {
    config: (&'e str, &'e ScannedEntry),
    layers: Vec<(&'e str, &'e ScannedEntry)>,
}

/// Adds the images of `manifest.json`; images that `index.json` lists already only get their names.
pub(super) fn add_images(
    archive: &mut ArchiveContext<'_>,
    candidates: &mut Vec<ImageCandidate>,
) -> Result<(), Error> {
    let scanned = archive.scanned;
    let Some((_, manifest)) = scanned.get("manifest.json") else { return Ok(()) };
    if manifest.head.starts_with(b"null") {
        return Ok(());
    }
    let images: Vec<DockerImage> = archive.parse("manifest.json", &manifest.head)?;
    images.iter().try_for_each(|image| add_image(archive, image, candidates))
}

fn add_image(
    archive: &mut ArchiveContext<'_>,
    image: &DockerImage,
    candidates: &mut Vec<ImageCandidate>,
) -> Result<(), Error> {
    let files = find_files(archive, image)?;
    let names = image.tags.as_ref().map_or(0, Vec::len).max(1);
    archive.reserve(files.layers.len(), names)?;
    archive.reserve_json(&files.config.1.head)?;
    let (names, mut problems) = read_names(archive, image);
    problems.extend(digest_name_problems(archive, &files, image));
    let digest = files.config.1.digests.named;
    let same = candidates.iter().position(|candidate| candidate.configs.contains(&digest));
    for name in &names {
        let mut others = candidates.iter().enumerate().filter(|(at, _)| Some(*at) != same);
        if others.any(|(_, other)| other.from_index && other.names.contains(name)) {
            let what =
                format!("index.json and manifest.json give the name {name} to different images");
            problems.push(archive.problem(what));
        }
    }
    let Some(same) = same.map(|at| &mut candidates[at]) else {
        let mut candidate = synthesize_manifest(archive, &files)?;
        problems.append(&mut candidate.problems);
        candidates.push(ImageCandidate { names, problems, ..candidate });
        return Ok(());
    };
    if !has_layers(same, digest, &files.layers, archive) {
        let what = format!(
            "index.json and manifest.json list different layers for the configuration {digest}"
        );
        problems.push(archive.problem(what));
    }
    for name in names {
        same.add_name(name);
    }
    same.problems.extend(problems);
    Ok(())
}

fn find_files<'a>(archive: &ArchiveContext<'a>, image: &DockerImage) -> Result<Files<'a>, Error> {
    let find = |path: &str| {
        if path.is_empty() {
            let what = "manifest.json lists a layer without a file, which only the Docker that saved it \
                        has: pull the image, and save it again";
            return Err(archive.damaged(what));
        }
        let found = archive.scanned.get(path);
        found.ok_or_else(|| archive.damaged(format!("{} is missing", path.escape_debug())))
    };
    let layers = image.layers.iter().flatten();
    Ok(Files {
        config: find(&image.config)?,
        layers: layers.map(|path| find(path)).collect::<Result<_, _>>()?,
    })
}

/// The names of an image, and problems of those that are invalid.
fn read_names(archive: &ArchiveContext<'_>, image: &DockerImage) -> (Vec<Reference>, Vec<String>) {
    let (mut names, mut problems) = (Vec::new(), Vec::new());
    for tag in image.tags.iter().flatten().flatten() {
        match read_name(tag) {
            Name::Full(name) if !names.contains(&name) => names.push(name),
            Name::Full(_) | Name::None | Name::Tag(_) => {}
            Name::Invalid => {
                let tag: String = tag.chars().take(60).collect();
                let what = format!(
                    "RepoTags contains `{}`, which is not a valid image name",
                    tag.escape_debug()
                );
                problems.push(archive.problem(what));
            }
        }
    }
    (names, problems)
}

/// Problems of files whose content does not match the digest in their name.
fn digest_name_problems(
    archive: &ArchiveContext<'_>,
    files: &Files<'_>,
    image: &DockerImage,
) -> Vec<String> {
    let layers = files.layers.iter().zip(image.layers.iter().flatten());
    let named = std::iter::once((&image.config, files.config.1, config_digest(&image.config)))
        .chain(layers.map(|((_, entry), path)| (path, *entry, named_digest(path))));
    let wrong = named.filter(|(_, entry, digest)| {
        let own = [entry.digests.named, entry.digests.sha256];
        digest.is_some_and(|digest| !own.contains(&digest))
    });
    wrong.map(|(path, ..)| archive.problem(format!("{} is damaged", path.escape_debug()))).collect()
}

/// The digest in the path of a configuration: `<hex>.json` of Docker, a blob path, or
/// `sha256:<hex>`.
fn config_digest(path: &str) -> Option<Digest> {
    let hex = path.strip_suffix(".json").unwrap_or_default();
    named_digest(path).or_else(|| sha256(hex)).or_else(|| sha256(path.strip_prefix("sha256:")?))
}

fn sha256(hex: &str) -> Option<Digest> {
    format!("sha256:{hex}").parse().ok()
}

/// Whether an image of `index.json` has these layers: the same blobs, or the same decompressed
/// content.
fn has_layers(
    candidate: &ImageCandidate,
    config: Digest,
    layers: &[(&str, &ScannedEntry)],
    archive: &ArchiveContext<'_>,
) -> bool {
    candidate.manifests().any(|manifest| match manifest.parse() {
        Ok(Manifest::Image { config: own, layers: own_layers }) => {
            let is_same =
                |(layer, (_, entry)): (&compass_registry::Descriptor, &(&str, &ScannedEntry))| {
                    let blob = archive.scanned.get(&super::layout::blob_path(&layer.digest));
                    let diff_id = blob.and_then(|(_, blob)| blob.diff_id());
                    layer.digest == entry.digests.named
                        || layer.digest == entry.digests.sha256
                        || (diff_id.is_some() && diff_id == entry.diff_id())
                };
            own.digest == config
                && own_layers.len() == layers.len()
                && own_layers.iter().zip(layers).all(is_same)
        }
        _ => false,
    })
}

/// Creates an image without names, with the manifest that a registry will receive.
fn synthesize_manifest(
    archive: &mut ArchiveContext<'_>,
    files: &Files<'_>,
) -> Result<ImageCandidate, Error> {
    let (config_path, config) = files.config;
    archive.add_blob(config.digests.named, config_path, false);
    let mut layers = Vec::new();
    for (path, entry) in &files.layers {
        let (kind, digest, size) = registry_blob(entry);
        archive.add_blob(digest, path, digest != entry.digests.named);
        layers.push(json!({"mediaType": kind, "digest": digest, "size": size}));
        check_readable(archive, path, entry)?;
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": {
            "mediaType": media_type::OCI_CONFIG, "digest": config.digests.named, "size": config.size(),
        },
        "layers": layers,
    });
    let layers = files
        .layers
        .iter()
        .map(|(path, entry)| Layer { name: path.escape_debug().to_string(), entry: Some(*entry) });
    let problems = layer_problems(archive, config, &layers.collect::<Vec<_>>());
    Ok(ImageCandidate {
        root: RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string()),
        children: Vec::new(),
        config: Some(config.digests.named),
        configs: vec![config.digests.named],
        names: Vec::new(),
        tag: None,
        from_index: false,
        problems,
        notes: Vec::new(),
        unavailable: Vec::new(),
    })
}

/// Media type, digest and size of a layer in a registry, which accepts only gzip and zstd
/// compression.
fn registry_blob(entry: &ScannedEntry) -> (&'static str, Digest, u64) {
    let as_it_is = |kind| (kind, entry.digests.named, entry.size());
    match &entry.content {
        EntryContent::Compressed { compression: Compression::Gzip, .. } => {
            as_it_is(media_type::OCI_LAYER_GZIP)
        }
        EntryContent::Compressed { compression: Compression::Zstd, .. } => {
            as_it_is(media_type::OCI_LAYER_ZSTD)
        }
        EntryContent::Compressed { digest, size, .. } => (media_type::OCI_LAYER, *digest, *size),
        _ => as_it_is(media_type::OCI_LAYER),
    }
}

/// Returns an error if a layer cannot be decompressed and no digest in its name can verify it.
fn check_readable(
    archive: &ArchiveContext<'_>,
    path: &str,
    entry: &ScannedEntry,
) -> Result<(), Error> {
    match &entry.content {
        EntryContent::Unreadable(reason) if named_digest(path).is_none() => {
            Err(archive.damaged(format!("{}: {reason}", path.escape_debug())))
        }
        _ => Ok(()),
    }
}
