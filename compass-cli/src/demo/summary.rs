//! The summary at the end of a demo.

use std::path::PathBuf;
use std::time::Duration;

use compass_registry::Digest;
use serde_json::{Value, json};

use crate::display::human_bytes;

/// A completed step.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) duration: Duration,
    /// The bytes that it transferred.
    pub(crate) bytes: u64,
}

/// The digests of an image at the developer and at the site.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) reference: String,
    pub(crate) developer: Digest,
    pub(crate) site: Digest,
}

#[derive(Debug)]
pub(crate) struct PublishedBundle {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) digest: Digest,
}

#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) steps: Vec<Step>,
    pub(crate) images: Vec<Image>,
    pub(crate) bundles: Vec<PublishedBundle>,
}

impl Step {
    #[expect(clippy::cast_precision_loss)]
    fn rate(&self) -> f64 {
        let seconds = self.duration.as_secs_f64().max(0.001);
        self.bytes as f64 / f64::from(1 << 20) / seconds
    }
}

impl Summary {
    /// Whether every image arrived with the digest of the developer.
    pub(crate) fn is_ok(&self) -> bool {
        self.images.iter().all(|image| image.developer == image.site)
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = String::from("\nSteps\n");
        for step in &self.steps {
            let seconds = step.duration.as_secs_f64();
            let transferred = match step.bytes {
                0 => String::new(),
                count => format!("{:>12}  {:>6.0} MiB/s", human_bytes(count), step.rate()),
            };
            text.push_str(&format!("  {:<9} {seconds:>7.2} s {transferred}\n", step.name));
        }
        text.push_str("\nImages\n");
        for image in &self.images {
            let same = if image.developer == image.site { "=" } else { "NOT" };
            text.push_str(&format!(
                "  {}\n    developer {}\n    site      {} {same} the developer's\n",
                image.reference, image.developer, image.site
            ));
        }
        text.push_str("\nBundles\n");
        for bundle in &self.bundles {
            text.push_str(&format!(
                "  {} bytes ({})  sha256 {}\n",
                bundle.size,
                human_bytes(bundle.size),
                bundle.digest.hex()
            ));
        }
        for bundle in &self.bundles {
            text.push_str(&format!("bundle: {}\n", bundle.path.display()));
        }
        text
    }

    pub(crate) fn to_json(&self) -> Value {
        let steps = self.steps.iter().map(|step| {
            json!({"name": step.name, "seconds": step.duration.as_secs_f64(), "bytes": step.bytes})
        });
        let images = self.images.iter().map(|image| {
            let Image { reference, developer, site } = image;
            json!({"image": reference, "developer": developer, "site": site})
        });
        let bundles = self.bundles.iter().map(|bundle| {
            json!({"path": bundle.path, "size": bundle.size, "sha256": bundle.digest.hex()})
        });
        json!({
            "holds": self.is_ok(),
            "steps": steps.collect::<Vec<_>>(),
            "images": images.collect::<Vec<_>>(),
            "bundles": bundles.collect::<Vec<_>>(),
        })
    }
}
