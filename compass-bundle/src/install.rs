//! Brings the images of a bundle to the site's registry.

use std::sync::Arc;

use compass_registry::{
    Copied, CopyOptions, ImageSink, ImageSource, Reference, RegistryPlace, copy,
};

use crate::Error;
use crate::read::Bundle;

/// An image that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Its name at the site.
    pub reference: Reference,
    /// What was moved.
    pub copied: Copied,
}

/// Pushes all images of a bundle to a registry. With a project the place replaces the images' own,
/// without one they keep it. Layers are read from the bundle by offset; nothing is unpacked.
///
/// # Errors
/// The first error, naming image and blob. What has been pushed stays; a second try finds it.
pub async fn install(
    bundle: &Bundle,
    sink: &dyn ImageSink,
    place: &RegistryPlace,
    options: &CopyOptions,
) -> Result<Vec<Installed>, Error> {
    let source: Arc<dyn ImageSource> = Arc::new(bundle.clone());
    let mut installed = Vec::new();
    for image in bundle.images() {
        let reference = image.reference.moved_to(place)?;
        let from = (image.reference.repository(), &image.root.digest().into());
        let to = (reference.repository(), reference.tag());
        let copied = copy(Arc::clone(&source), from, sink, to, options).await;
        let copied = copied.map_err(|error| error.in_image(&reference))?;
        installed.push(Installed { reference, copied });
    }
    Ok(installed)
}
