//! A bundle or a package of any making, wherever it is.

use compass_bundle::Opened;
use compass_bundle::store::open_source;
use compass_manifest::{Policy, inventory};
use compass_registry::Reference;

use crate::failure::Failure;

/// Opens a bundle, or a package of any making.
pub(crate) async fn open(address: &str) -> Result<Opened, Failure> {
    Ok(Opened::read(open_source(address).await?).await?)
}

/// The images that YAML names and a bundle lacks, with the file that names them.
pub(crate) fn missing_images<'f>(
    files: impl Iterator<Item = (&'f str, &'f [u8])>,
    there: &[&Reference],
) -> Vec<(String, String)> {
    let policy = Policy::default();
    let mut missing = Vec::new();
    for (path, bytes) in files {
        for image in inventory::file_images(path, bytes, &policy) {
            let written = &image.used.written;
            let is_there = match &image.used.image {
                Ok(used) => {
                    has(there, &used.repository, used.tag.as_deref(), used.digest.as_deref())
                }
                // A template of another policy; what stands behind it is as good a name.
                Err(_) => match written.split_once("]]/") {
                    Some((_, name)) if !name.contains(['[', ' ']) => {
                        let (name, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
                        has(there, name, Some(tag), None)
                    }
                    _ => continue,
                },
            };
            if !is_there {
                missing.push((path.to_owned(), written.clone()));
            }
        }
    }
    missing
}

/// Whether an image is there under a name. Sites and teams name their projects as they like: what
/// stands before the name does not count.
fn has(there: &[&Reference], name: &str, tag: Option<&str>, digest: Option<&str>) -> bool {
    there.iter().any(|one| {
        let before = one.repository().as_str().strip_suffix(name);
        let locator = one.locator().to_string();
        before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
            && (locator == tag.unwrap_or("latest") || digest == Some(&locator))
    })
}
