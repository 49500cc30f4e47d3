//! `compass inspect`.

use std::collections::HashMap;
use std::process::ExitCode;

use compass_bundle::document::{BundleDocument, BundleImage, PlacedBlob};
use compass_bundle::{ArchiveImage, Bundle, ForeignImage, ForeignPackage};
use compass_registry::{Descriptor, Digest, Manifest, Platform, RawManifest};
use serde_json::{Value, json};

use crate::display::{counted, human_bytes, printable};
use crate::error::Result;
use crate::global_args::GlobalArgs;
use crate::image_usage::open;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A bundle or any other image package: a path, or an http, https, s3 or oss URL
    bundle: String,
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let package = open(&args.bundle, global).await?;
    if let Some(bundle) = package.as_bundle() {
        let json = || {
            let mut json = serde_json::to_value(bundle.document()).unwrap_or_default();
            json["digest"] = json!(bundle.digest());
            json
        };
        output.result(json, || describe_bundle(bundle));
    }
    if let Some(package) = package.as_foreign() {
        let notes = package.notes().into_iter().chain(package.unavailable_layers());
        notes.for_each(|note| output.warn(&note));
        output.result(|| package_json(package), || describe_package(package));
    }
    Ok(ExitCode::SUCCESS)
}

/// A short name of a media type.
fn blob_kind(media_type: &str) -> &str {
    let has = |word: &str| media_type.contains(word);
    match () {
        () if has("index") || has("manifest.list") => "image index",
        () if has("manifest") => "image manifest",
        () if has("config") || has("container.image") => "config",
        () => media_type.rsplit(['/', '.']).next().unwrap_or(media_type),
    }
}

fn describe_bundle(bundle: &Bundle) -> String {
    let document = bundle.document();
    let BundleDocument { name, version, commit, .. } = document;
    let what = document.kind.as_str();
    let commit = commit.as_deref().unwrap_or("unknown");
    let size = bundle.size();
    let mut text = format!(
        "{what} {name} {version}\ncommit {commit}\nsize   {size} ({})\ndigest {}\n",
        human_bytes(size),
        bundle.digest()
    );
    for file in &document.files {
        let mode = file.mode.as_ref().map(|mode| format!("  {mode}")).unwrap_or_default();
        text.push_str(&format!("\n{}  {}{mode}\n", file.path, human_bytes(file.size)));
        if let Some(image) = &file.image {
            text.push_str(&describe_archive(image));
        }
    }
    if let Some(store) = &document.store {
        let blobs: u64 = store.blobs.iter().map(|blob| blob.descriptor.size).sum();
        let images = counted(store.images.len(), "image");
        text.push_str(&format!("\n{}/  {images}, {}\n", store.path, human_bytes(blobs)));
        let uses = layer_uses(bundle.images());
        for (stored, image) in store.images.iter().zip(bundle.images()) {
            text.push_str(&describe_stored(stored, image, &uses));
        }
    }
    text
}

fn platforms(platform: Option<&Platform>, omitted: &[Platform]) -> String {
    let mut text = platform.map_or("all platforms".to_owned(), ToString::to_string);
    if !omitted.is_empty() {
        let omitted: Vec<_> = omitted.iter().map(ToString::to_string).collect();
        text.push_str(&format!(", without {}", omitted.join(", ")));
    }
    text
}

fn describe_archive(image: &BundleImage) -> String {
    let platforms = platforms(image.platform.as_ref(), &image.omitted_platforms);
    let mut text = format!("  {} ({platforms})\n  {}\n", image.reference, image.digest);
    for PlacedBlob { descriptor, .. } in &image.blobs {
        text.push_str(&blob_line(descriptor, ""));
    }
    text
}

fn blob_line(blob: &Descriptor, more: &str) -> String {
    let (kind, size) = (blob_kind(&blob.media_type), human_bytes(blob.size));
    format!("    {}  {size:>12}  {kind}{more}\n", blob.digest)
}

/// Counts the images that use each layer.
fn layer_uses(images: &[ArchiveImage]) -> HashMap<Digest, usize> {
    let mut uses = HashMap::new();
    for layer in images.iter().flat_map(|image| layers(image.manifests())) {
        *uses.entry(layer.digest).or_default() += 1;
    }
    uses
}

/// The layers of image manifests.
fn layers<'m>(manifests: impl Iterator<Item = &'m RawManifest>) -> Vec<Descriptor> {
    let layers = manifests.filter_map(|manifest| match manifest.parse() {
        Ok(Manifest::Image { layers, .. }) => Some(layers),
        _ => None,
    });
    layers.flatten().collect()
}

fn describe_stored(
    stored: &BundleImage,
    image: &ArchiveImage,
    uses: &HashMap<Digest, usize>,
) -> String {
    let platforms = platforms(stored.platform.as_ref(), &stored.omitted_platforms);
    let mut text = format!("  {} ({platforms})\n  {}\n", stored.reference, stored.digest);
    for layer in layers(image.manifests()) {
        let count = uses.get(&layer.digest).copied().unwrap_or(1);
        let shared = if count > 1 { format!("  in {count} images") } else { String::new() };
        text.push_str(&blob_line(&layer, &shared));
    }
    text
}

fn package_json(package: &ForeignPackage) -> Value {
    let files = package
        .files()
        .iter()
        .map(|file| json!({"path": file.path, "size": file.size, "digest": file.digest}));
    let image = |image: &ForeignImage| {
        json!({
            "archive": image.archive,
            "reference": image.reference.to_string(),
            "digest": image.root.digest(),
            "config": image.config,
            "layers": layers(image.manifests()),
            "problems": image.problems,
            "notes": image.notes,
            "unavailable": image.unavailable.iter().map(|(layer, _)| layer).collect::<Vec<_>>(),
        })
    };
    let problems = package
        .problems()
        .into_iter()
        .map(|problem| json!({"file": problem.file, "image": problem.image, "what": problem.what}));
    json!({
        "kind": "package",
        "size": package.size(),
        "files": files.collect::<Vec<_>>(),
        "images": package.images().iter().map(image).collect::<Vec<_>>(),
        "problems": problems.collect::<Vec<_>>(),
    })
}

fn describe_package(package: &ForeignPackage) -> String {
    let size = package.size();
    let mut text = format!("package of another tool\nsize   {size} ({})\n", human_bytes(size));
    for file in package.files() {
        text.push_str(&format!("\n{}  {}\n", printable(&file.path), human_bytes(file.size)));
    }
    for image in package.images() {
        let (archive, reference) = (printable(&image.archive), &image.reference);
        text.push_str(&format!("\n{archive}\n  {reference}\n"));
        if let Some(config) = &image.config {
            text.push_str(&format!("    {config}  config\n"));
        }
        for layer in layers(image.manifests()) {
            text.push_str(&blob_line(&layer, ""));
        }
        for problem in &image.problems {
            text.push_str(&format!("  problem: {}\n", printable(problem)));
        }
    }
    for problem in package.problems().iter().filter(|problem| problem.image.is_none()) {
        let file = problem.file.as_deref().map(|file| format!("{}: ", printable(file)));
        let (file, what) = (file.unwrap_or_default(), printable(&problem.what));
        text.push_str(&format!("\nproblem: {file}{what}\n"));
    }
    text
}
