//! What a demo says at the end.

use std::path::PathBuf;
use std::time::Duration;

use compass_registry::Digest;
use serde_json::{Value, json};

use crate::output::bytes;

/// One step that was taken.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) took: Duration,
    /// Bytes that went through it, where it moves any.
    pub(crate) bytes: u64,
}

/// One image, at both ends of the road.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) reference: String,
    pub(crate) developer: Digest,
    pub(crate) site: Digest,
}

/// One bundle.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) digest: Digest,
}

/// Everything that a person would want to know.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) steps: Vec<Step>,
    pub(crate) images: Vec<Image>,
    pub(crate) bundles: Vec<Package>,
}

impl Step {
    #[expect(clippy::cast_precision_loss)]
    fn rate(&self) -> f64 {
        let seconds = self.took.as_secs_f64().max(0.001);
        self.bytes as f64 / f64::from(1 << 20) / seconds
    }
}

impl Summary {
    /// Whether every image is the developer's.
    pub(crate) fn holds(&self) -> bool {
        self.images.iter().all(|image| image.developer == image.site)
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = String::from("\nSteps\n");
        for step in &self.steps {
            let seconds = step.took.as_secs_f64();
            let moved = match step.bytes {
                0 => String::new(),
                count => format!("{:>12}  {:>6.0} MiB/s", bytes(count), step.rate()),
            };
            text.push_str(&format!("  {:<9} {seconds:>7.2} s {moved}\n", step.name));
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
                bytes(bundle.size),
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
            json!({"name": step.name, "seconds": step.took.as_secs_f64(), "bytes": step.bytes})
        });
        let images = self.images.iter().map(|image| {
            let Image { reference, developer, site } = image;
            json!({"image": reference, "developer": developer, "site": site})
        });
        let bundles = self.bundles.iter().map(|bundle| {
            json!({"path": bundle.path, "size": bundle.size, "sha256": bundle.digest.hex()})
        });
        json!({
            "holds": self.holds(),
            "steps": steps.collect::<Vec<_>>(),
            "images": images.collect::<Vec<_>>(),
            "bundles": bundles.collect::<Vec<_>>(),
        })
    }
}
