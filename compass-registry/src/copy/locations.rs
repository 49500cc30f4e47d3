//! Records which repositories of the sink are known to have which blobs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::blobs::BlobOutcome;
use crate::{Digest, Error, Repository};

/// The repositories of the sink that have each blob. Copies add to it.
#[derive(Default)]
pub(super) struct Locations(Mutex<HashMap<Digest, Arc<BlobLocations>>>);

#[derive(Default)]
struct BlobLocations {
    /// The first repository that has the blob.
    /// Other repositories mount the blob from it.
    first: OnceCell<Repository>,
    /// The repositories that copies write to.
    /// A cell is initialized once its repository has the blob.
    repositories: Mutex<HashMap<Repository, Arc<OnceCell<()>>>>,
}

impl Locations {
    /// Makes sure that a repository has a blob.
    ///
    /// If no repository has the blob yet, one caller runs `copy_first` and the others wait for it.
    /// After that, callers for different repositories run `copy_next` at the same time, with the
    /// first repository. Callers for the same repository wait for each other, and the later ones
    /// find the blob present. If a copy fails or is cancelled, the next caller runs its own copy.
    ///
    /// # Errors
    /// The error of the future that this caller runs.
    pub(super) async fn ensure<N>(
        &self,
        digest: Digest,
        repository: &Repository,
        copy_first: impl Future<Output = Result<BlobOutcome, Error>>,
        copy_next: impl FnOnce(Repository) -> N,
    ) -> Result<BlobOutcome, Error>
    where
        N: Future<Output = Result<BlobOutcome, Error>>,
    {
        let blob = self.get_or_default(digest);
        let present = blob.repository(repository);
        let mut outcome = BlobOutcome::Present;
        let copy = async {
            let mut first_outcome = None;
            let copy_first = async {
                first_outcome = Some(copy_first.await?);
                Ok::<_, Error>(repository.clone())
            };
            let first = blob.first.get_or_try_init(|| copy_first).await?.clone();
            outcome = match first_outcome {
                Some(outcome) => outcome,
                None => copy_next(first).await?,
            };
            Ok::<_, Error>(())
        };
        present.get_or_try_init(|| copy).await?;
        Ok(outcome)
    }

    /// Whether any repository is known to have a blob.
    pub(super) fn is_known(&self, digest: Digest) -> bool {
        self.get(digest).is_some_and(|blob| blob.first.initialized())
    }

    /// Whether a repository is known to have a blob.
    pub(super) fn contains(&self, digest: Digest, repository: &Repository) -> bool {
        self.get(digest).is_some_and(|blob| blob.repository(repository).initialized())
    }

    fn get(&self, digest: Digest) -> Option<Arc<BlobLocations>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).map(Arc::clone)
    }

    fn get_or_default(&self, digest: Digest) -> Arc<BlobLocations> {
        let mut blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(blobs.entry(digest).or_default())
    }
}

impl BlobLocations {
    fn repository(&self, repository: &Repository) -> Arc<OnceCell<()>> {
        let mut all = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(repository) {
            Some(known) => Arc::clone(known),
            None => Arc::clone(all.entry(repository.clone()).or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::{join, pending};

    use super::*;

    fn name(text: &str) -> Repository {
        text.parse().unwrap()
    }

    async fn ensure(locations: &Locations, repository: &str) -> BlobOutcome {
        let copy_first = async { Ok(BlobOutcome::Copied) };
        let copy_next = |_| async { Ok(BlobOutcome::Mounted) };
        let digest = Digest::of(b"base");
        locations.ensure(digest, &name(repository), copy_first, copy_next).await.unwrap()
    }

    #[tokio::test]
    async fn ensure_later_repository_gets_first_location() {
        let locations = Locations::default();
        assert_eq!(ensure(&locations, "team/a").await, BlobOutcome::Copied);
        assert_eq!(ensure(&locations, "team/a").await, BlobOutcome::Present);
        assert_eq!(ensure(&locations, "team/b").await, BlobOutcome::Mounted);
        assert!(locations.contains(Digest::of(b"base"), &name("team/b")));
    }

    #[tokio::test]
    async fn ensure_same_repository_copies_once() {
        let locations = Locations::default();
        let copies = join(ensure(&locations, "team/a"), ensure(&locations, "team/a")).await;
        assert_eq!(copies, (BlobOutcome::Copied, BlobOutcome::Present));
    }

    #[tokio::test]
    async fn ensure_cancelled_copy_leaves_turn() {
        let (locations, digest) = (Locations::default(), Digest::of(b"base"));
        let repository = name("team/a");
        let stuck = locations.ensure(digest, &repository, pending(), |_| pending());
        assert!(stuck.now_or_never().is_none());
        assert!(!locations.is_known(digest));
        assert_eq!(ensure(&locations, "team/a").await, BlobOutcome::Copied);
    }

    #[tokio::test]
    async fn ensure_failed_copy_is_not_known() {
        let (locations, digest) = (Locations::default(), Digest::of(b"base"));
        let fails = async { Err(Error::NotFound { what: "base".to_owned() }) };
        let repository = name("team/a");
        let next = |_| async { Ok(BlobOutcome::Mounted) };
        locations.ensure(digest, &repository, fails, next).await.unwrap_err();
        assert!(!locations.is_known(digest) && !locations.contains(digest, &repository));
    }
}
