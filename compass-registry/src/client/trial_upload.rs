//! Upload sessions that show whether a repository can be written.

use reqwest::{Method, Url};

use super::push::PUSH;
use super::transport::{Transport, is_success};
use super::upload_session::{Session, cancel_in_background};
use crate::{Error, Repository};

/// An upload session that [`Client::check_push`](super::Client::check_push) opened.
///
/// The next blob of the repository is uploaded in this session. If there is none, dropping this
/// value cancels the session in the background, provided that a runtime still exists.
#[derive(Debug)]
pub struct TrialUpload {
    transport: Transport,
    repository: Repository,
    session: Url,
}

impl TrialUpload {
    /// Opens a session for the next blob of a repository.
    pub(super) async fn open(
        transport: &Transport,
        repository: &Repository,
    ) -> Result<Self, Error> {
        let request = transport.request(Method::POST, repository, "blobs/uploads/", PUSH);
        let response = transport.send(&request, is_success).await?;
        let session = transport.resolve_location(&request.url, &response)?;
        let replaced = transport.pending_uploads().add(repository, None, session.clone());
        let trial = Self { transport: transport.clone(), repository: repository.clone(), session };
        Session { transport, repository, url: replaced }.cancel().await;
        Ok(trial)
    }
}

impl Drop for TrialUpload {
    fn drop(&mut self) {
        let Self { transport, repository, session } = self;
        if transport.pending_uploads().remove(repository, session) {
            cancel_in_background(transport, repository, session.clone());
        }
    }
}
