//! Long responses of plain HTTP in bounded memory.

use std::time::Duration;

use bytes::Bytes;
use compass_registry::http::HttpOptions;
use http::header::{HeaderMap, USER_AGENT};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioExecutor;
use reqwest::{Body, Response};
use tokio::time::timeout;

/// The maximum size of a read in bytes.
const MAX_READ: usize = 64 << 10;

/// The reason of a request that got no response.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A client that reads plain responses in small parts.
///
/// A client of `reqwest` reads up to 400 KiB at a time from a plain connection, which cannot be
/// configured, and a transfer holds three such parts. TLS limits a read to 16 KiB. Requests that are
/// encrypted or go through a proxy need a client of `reqwest`.
#[derive(Debug, Clone)]
pub(super) struct PlainClient {
    client: Client<HttpConnector, Empty<Bytes>>,
    /// The time limit for a response without its body.
    limit: Duration,
}

impl PlainClient {
    /// Creates a client for a server. Returns `None` if it cannot send requests to this URL.
    pub(super) fn for_url(url: &str, limit: Duration) -> Option<Self> {
        let url: http::Uri = url.parse().ok()?;
        let has_login = url.authority()?.as_str().contains('@');
        if url.scheme_str() != Some("http") || has_login {
            return None;
        }
        if Matcher::from_system().intercept(&url).is_some() {
            return None;
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(limit));
        connector.set_nodelay(true);
        let mut builder = Client::builder(TokioExecutor::new());
        let client = builder.http1_max_buf_size(MAX_READ).build(connector);
        Some(Self { client, limit })
    }

    /// Sends a GET request. Redirects are not followed.
    pub(super) async fn get(&self, url: &str, headers: HeaderMap) -> Result<Response, Failure> {
        let mut request = http::Request::get(url).body(Empty::new())?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(USER_AGENT, HttpOptions::default().user_agent.parse()?);
        let response = timeout(self.limit, self.client.request(request)).await??;
        Ok(Response::from(response.map(Body::wrap)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_url_accepts_plain_urls_only() {
        let accepts = |url| PlainClient::for_url(url, Duration::from_secs(1)).is_some();
        assert!(accepts("http://127.0.0.1:9000/bundle.tar.gz?versionId=1"));
        for url in ["https://127.0.0.1/a", "http://me:hunter2@127.0.0.1/a", "/a", "http://"] {
            assert!(!accepts(url), "{url}");
        }
    }
}
