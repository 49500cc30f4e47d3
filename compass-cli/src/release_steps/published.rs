//! Finds a bundle in the store.

use compass_bundle::store::{Store, StoredBundle, open_source};
use compass_bundle::{Bundle, BundleDocument, Error};
use compass_registry::RetryPolicy;

use crate::error::Result;

/// A file of the store that has the name of a bundle.
pub(crate) struct PublishedBundle {
    pub(crate) stored: StoredBundle,
    /// The bundle, or the reason why the file is none.
    pub(crate) bundle: Result<Bundle, String>,
}

/// Finds the bundle that the store has under the name of another one. Its content may differ.
pub(crate) async fn find_bundle(
    store: &dyn Store,
    document: &BundleDocument,
    policy: &RetryPolicy,
) -> Result<Option<PublishedBundle>> {
    let Some(stored) = store.find(document).await? else { return Ok(None) };
    let source = open_source(&stored.url, policy).await?;
    let bundle = match Bundle::read(source).await {
        Ok(bundle) => Ok(bundle),
        Err(error @ (Error::NotABundle { .. } | Error::Damaged { .. })) => Err(error.to_string()),
        Err(error) => return Err(error.into()),
    };
    Ok(Some(PublishedBundle { stored, bundle }))
}
