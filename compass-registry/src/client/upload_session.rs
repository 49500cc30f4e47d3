//! Upload sessions, which are cancelled if they stay open.

use std::time::Duration;

use reqwest::{Method, Url};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::push::PUSH;
use super::transport::{Request, Transport, is_success};
use crate::Repository;

/// The time limit for cancelling a session, with its login and the pauses that the registry asks
/// for.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// An upload session. A session that is dropped while open is cancelled in the background, if a
/// runtime still exists.
pub(super) struct Session<'u> {
    pub(super) transport: &'u Transport,
    pub(super) repository: &'u Repository,
    pub(super) url: Option<Url>,
}

impl Session<'_> {
    /// Cancels the session if it is open.
    pub(super) async fn cancel(&mut self) {
        // If this future is dropped, `Drop` cancels the session.
        if let Some(session) = self.url.clone() {
            cancel(self.transport, self.repository, session).await;
            self.url = None;
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.url.take() {
            cancel_in_background(self.transport, self.repository, session);
        }
    }
}

/// Cancels an upload session, ignoring errors. Waits at most [`CANCEL_TIMEOUT`].
async fn cancel(transport: &Transport, repository: &Repository, session: Url) {
    let request = transport.request(Method::DELETE, repository, "", PUSH);
    let request = Request { url: session, is_best_effort: true, ..request };
    match timeout(CANCEL_TIMEOUT, transport.send_without_retry(&request, is_success)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "cannot cancel an upload session"),
        Err(_) => tracing::debug!("the registry does not answer to cancelling an upload session"),
    }
}

/// Cancels an upload session in a new task. Does nothing without a runtime.
pub(super) fn cancel_in_background(transport: &Transport, repository: &Repository, session: Url) {
    if let Ok(runtime) = Handle::try_current() {
        let (transport, repository) = (transport.clone(), repository.clone());
        runtime.spawn(async move { cancel(&transport, &repository, session).await });
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::client::ClientOptions;

    #[tokio::test(start_paused = true)]
    async fn cancel_hung_registry_is_limited() {
        // The system accepts the connection, and nothing answers.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let transport = Transport::new(&host, ClientOptions::default()).unwrap();
        let session = Url::parse(&format!("http://{host}/v2/a/b/blobs/uploads/1")).unwrap();
        let began = Instant::now();
        cancel(&transport, &"a/b".parse().unwrap(), session).await;
        assert_eq!(began.elapsed(), CANCEL_TIMEOUT);
    }
}
