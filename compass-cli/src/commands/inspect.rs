use std::path::PathBuf;
use std::process::ExitCode;

use compass_bundle::{Bundle, BundleDocument};

use crate::failure::Failure;
use crate::output::{Output, bytes};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle
    bundle: PathBuf,
}

pub(crate) async fn run(args: &Args, output: &Output) -> Result<ExitCode, Failure> {
    let bundle = Bundle::open(&args.bundle).await?;
    let document = bundle.document();
    output.result(
        || serde_json::to_value(document).unwrap_or_default(),
        || describe(document, bundle.size()),
    );
    Ok(ExitCode::SUCCESS)
}

/// What a blob is, in a word.
fn kind(media_type: &str) -> &str {
    let holds = |word: &str| media_type.contains(word);
    match () {
        () if holds("index") || holds("manifest.list") => "image index",
        () if holds("manifest") => "image manifest",
        () if holds("config") || holds("container.image") => "config",
        () => media_type.rsplit(['/', '.']).next().unwrap_or(media_type),
    }
}

fn describe(document: &BundleDocument, size: u64) -> String {
    let BundleDocument { name, version, commit, .. } = document;
    let commit = commit.as_deref().unwrap_or("unknown");
    let mut text =
        format!("plugin {name} {version}\ncommit {commit}\nsize   {size} ({})\n", bytes(size));
    for file in &document.files {
        text.push_str(&format!("\n{}  {}\n", file.path, bytes(file.size)));
        let Some(image) = &file.image else { continue };
        let platform =
            image.platform.as_ref().map_or("all platforms".to_owned(), ToString::to_string);
        text.push_str(&format!("  {} ({platform})\n  {}\n", image.reference, image.digest));
        for blob in &image.blobs {
            let kind = kind(&blob.descriptor.media_type);
            let size = bytes(blob.descriptor.size);
            text.push_str(&format!("    {}  {size:>12}  {kind}\n", blob.descriptor.digest));
        }
    }
    text
}
