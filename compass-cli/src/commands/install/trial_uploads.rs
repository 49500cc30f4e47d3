//! Finds out whether the registry can be written, while the images are planned.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use compass_registry::client::TrialUpload;
use compass_registry::{
    Descriptor, Digest, Error, ImageSink, RawManifest, Repository, Tag, TagOrDigest, VerifiedBlob,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::installation::Site;
use crate::error::{CliError, Result as CliResult};

/// Opens an upload in each project of the registry that gets new content.
pub(super) struct TrialUploads<'t> {
    pub(super) site: &'t Site,
    /// The projects in which an upload was opened.
    projects: BTreeSet<String>,
    /// The uploads. Those that no blob has used are cancelled on drop.
    opened: Vec<TrialUpload>,
}

/// A sink that reports the repositories in which an image is missing.
struct ReportingSink {
    sink: Arc<dyn ImageSink>,
    missing: UnboundedSender<Repository>,
}

/// The repositories that a sink reports. They end when the sink is dropped.
pub(super) struct MissingImages(UnboundedReceiver<Repository>);

/// Returns a sink that behaves as `sink`, and the repositories in which it misses an image.
pub(super) fn reporting_sink(sink: &Arc<dyn ImageSink>) -> (Arc<dyn ImageSink>, MissingImages) {
    let (missing, repositories) = unbounded_channel();
    let sink = Arc::new(ReportingSink { sink: Arc::clone(sink), missing });
    (sink, MissingImages(repositories))
}

impl<'t> TrialUploads<'t> {
    pub(super) fn new(site: &'t Site) -> Self {
        Self { site, projects: BTreeSet::new(), opened: Vec::new() }
    }

    /// Opens an upload in the project of each repository, as they are reported.
    ///
    /// # Errors
    /// The first error of the registry.
    pub(super) async fn open_all(&mut self, mut repositories: MissingImages) -> CliResult<()> {
        while let Some(repository) = repositories.0.recv().await {
            self.open(&repository).await?;
        }
        Ok(())
    }

    /// Opens an upload in the project of a repository, unless one was opened there.
    pub(super) async fn open(&mut self, repository: &Repository) -> CliResult<()> {
        let project = repository.as_str().rsplit_once('/').map_or("", |(project, _)| project);
        if !self.projects.insert(project.to_owned()) {
            return Ok(());
        }
        let Site { client, registry, .. } = self.site;
        let opened = client.check_push(repository).await.map_err(|error| {
            let what = format!("{}/{repository} cannot be written to", registry.host);
            CliError::from(error).context(what)
        });
        self.opened.push(opened?);
        Ok(())
    }
}

#[async_trait]
impl ImageSink for ReportingSink {
    async fn manifest_digest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error> {
        let digest = self.sink.manifest_digest(repository, reference).await?;
        if digest.is_none() {
            // Fails if nothing reads the repositories, for example after an error.
            let _ = self.missing.send(repository.clone());
        }
        Ok(digest)
    }

    async fn verified_manifest_digest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error> {
        self.sink.verified_manifest_digest(repository, reference).await
    }

    async fn has_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        self.sink.has_blob(repository, descriptor).await
    }

    async fn put_blob(&self, repository: &Repository, blob: VerifiedBlob) -> Result<(), Error> {
        self.sink.put_blob(repository, blob).await
    }

    async fn mount_blob(
        &self,
        from: &Repository,
        to: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, Error> {
        self.sink.mount_blob(from, to, descriptor).await
    }

    fn registry(&self) -> Option<&str> {
        self.sink.registry()
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error> {
        self.sink.put_manifest(repository, manifest, tag).await
    }
}
