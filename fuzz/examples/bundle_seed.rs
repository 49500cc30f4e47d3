//! Writes the archive of a small bundle to a file, as a seed for `bundle_open`.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use compass_bundle::document::BundleKind;
use compass_bundle::{
    ArchiveImage, BundleContents, BundlePlan, FileEntry, WriteOptions, write_as,
};
use compass_registry::storage::MemoryStorage;
use compass_registry::{Descriptor, Platform, RawManifest, Reference, media_type};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let path = std::env::args().nth(1).ok_or("usage: bundle_seed FILE")?;
    let (config, layer) = (r#"{"os":"linux","architecture":"amd64"}"#, "a layer");
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": Descriptor::of(media_type::OCI_CONFIG, config.as_bytes()),
        "layers": [Descriptor::of(media_type::OCI_LAYER_GZIP, layer.as_bytes())],
    });
    let storage = MemoryStorage::default();
    let root = RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string());
    let reference: Reference = "registry.example/release/gpu:v0.1.0".parse()?;
    storage.add_blob(reference.repository(), config);
    storage.add_blob(reference.repository(), layer);
    let platform: Platform = "linux/amd64".parse()?;
    let plan = BundlePlan::new(&BundleContents::new(BundleKind::Plugin, "gpu", "v0.1.0", platform)
        .files(vec![FileEntry::new("gpu.yaml", "metadata: {name: gpu}\n")])
        .images(vec![ArchiveImage::new(reference, root).platform(Some(platform.clone()))]))?;
    let directory = tempfile::tempdir()?;
    let bundle = directory.path().join("bundle");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(write_as(&plan, Arc::new(storage), &bundle, &WriteOptions::default()))?;
    Ok(std::fs::write(path, unframed(&bundle)?)?)
}

fn unframed(bundle: &Path) -> Result<Vec<u8>, Failure> {
    let mut archive = Vec::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(bundle)?).read_to_end(&mut archive)?;
    Ok(archive)
}
