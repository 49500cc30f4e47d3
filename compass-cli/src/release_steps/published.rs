//! Finds a bundle in the store.

use compass_bundle::store::{Store, StoredFile, open_source};
use compass_bundle::{Bundle, BundleDocument, BundlePlan, Error};
use compass_registry::RetryPolicy;

use crate::error::Result;
use crate::packaging::PlannedBundle;

/// A file of the store that has the name of a bundle.
pub(crate) struct PublishedBundle {
    pub(crate) stored: StoredFile,
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

impl PublishedBundle {
    /// Plans a release again with the commit and the time of this bundle, which a rebase changes.
    /// Returns `None` if the bundle has other content.
    pub(super) fn adopt(&self, planned: PlannedBundle) -> Result<Option<PlannedBundle>> {
        let Ok(bundle) = &self.bundle else { return Ok(None) };
        if !is_same_release(bundle.document(), planned.plan.document()) {
            return Ok(None);
        }
        let BundleDocument { commit, modified, .. } = bundle.document().clone();
        let contents = planned.contents.commit(commit).modified(modified);
        let plan = BundlePlan::new(&contents)?;
        let is_equal = plan.digest() == bundle.digest();
        Ok(is_equal.then_some(PlannedBundle { plan, contents, images: planned.images }))
    }
}

/// Whether two bundles have the same files and images. A rebase changes the commit and the time.
pub(crate) fn is_same_release(one: &BundleDocument, other: &BundleDocument) -> bool {
    let (mut one, mut other) = (one.clone(), other.clone());
    for document in [&mut one, &mut other] {
        document.commit = None;
        document.modified = 0;
    }
    one == other
}
