//! Upload sessions, which are cancelled if they stay open.

use reqwest::{Method, Url};
use tokio::runtime::Handle;

use super::push::PUSH;
use super::transport::{Request, Transport, is_success};
use crate::Repository;

/// An upload session. A session that is dropped while open is cancelled in the background, if a
/// runtime still exists.
pub(super) struct Session<'u> {
    pub(super) transport: &'u Transport,
    pub(super) repository: &'u Repository,
    pub(super) url: Option<Url>,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let (Some(at), Ok(runtime)) = (self.url.take(), Handle::try_current()) {
            let (transport, repository) = (self.transport.clone(), self.repository.clone());
            runtime.spawn(async move { cancel(&transport, &repository, at).await });
        }
    }
}

/// Cancels an upload session, ignoring errors. Does not wait for a registry that stopped.
pub(super) async fn cancel(transport: &Transport, repository: &Repository, session: Url) {
    let request = transport.request(Method::DELETE, repository, "", PUSH);
    let request = Request { url: session, is_best_effort: true, ..request };
    if let Err(error) = transport.send_without_retry(&request, is_success).await {
        tracing::debug!(%error, "cannot cancel an upload session");
    }
}
