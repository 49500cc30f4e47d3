//! Long responses of plain HTTP in bounded memory.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderMap, HeaderValue, USER_AGENT};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqwest::{Body, Response, ResponseBuilderExt as _, Url};
use tokio::time::timeout;

use super::{HttpOptions, Proxy};
use crate::error::connection::ConnectionError;

/// The maximum size of a read in bytes.
const MAX_READ: usize = 64 << 10;

/// How long a connection is idle before the system tests it, and the time between the tests.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// The reason of a request that got no response.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A client that reads plain responses in small parts.
///
/// A client of `reqwest` reads up to 400 KiB at a time from a plain connection, which cannot be
/// configured, and a transfer holds three such parts. TLS limits a read to 16 KiB. Requests that are
/// encrypted or go through a proxy need a client of `reqwest`.
#[derive(Debug, Clone)]
pub struct PlainClient {
    client: Client<HttpConnector, Empty<Bytes>>,
    user_agent: HeaderValue,
    /// The time limit for a response without its body.
    limit: Duration,
}

impl PlainClient {
    /// Creates a client for the server of a URL. Returns `None` if it cannot send requests to this
    /// URL with these options.
    pub fn for_url(url: &str, options: &HttpOptions, limit: Duration) -> Option<Self> {
        let url: http::Uri = url.parse().ok()?;
        let has_login = url.authority()?.as_str().contains('@');
        if url.scheme_str() != Some("http") || has_login || options.client.is_some() {
            return None;
        }
        let has_proxy = match options.proxy {
            Proxy::None => false,
            Proxy::Environment => Matcher::from_system().intercept(&url).is_some(),
            Proxy::Url(_) => true,
        };
        if has_proxy {
            return None;
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(options.connect_timeout.min(limit)));
        connector.set_nodelay(true);
        // As a client of `reqwest`: a dead connection is noticed before it is used again.
        connector.set_keepalive(Some(KEEPALIVE));
        connector.set_keepalive_interval(Some(KEEPALIVE));
        connector.set_keepalive_retries(Some(3));
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).http1_max_buf_size(MAX_READ);
        let user_agent = options.user_agent.parse().ok()?;
        Some(Self { client: builder.build(connector), user_agent, limit })
    }

    /// Sends a GET request to the server. Redirects are not followed.
    ///
    /// # Errors
    /// The error of the connection, which does not contain the URL.
    pub async fn get(&self, url: &str, headers: HeaderMap) -> Result<Response, Failure> {
        let mut request = http::Request::get(url).body(Empty::new())?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(USER_AGENT, self.user_agent.clone());
        request.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        let response = timeout(self.limit, self.client.request(request)).await?;
        let response =
            response.map_err(|error| ConnectionError::new(!error.is_connect(), error))?;
        let (head, body) = response.into_parts();
        let mut response =
            http::Response::builder().url(Url::parse(url)?).body(Body::wrap(body))?;
        (*response.status_mut(), *response.headers_mut()) = (head.status, head.headers);
        *response.version_mut() = head.version;
        Ok(Response::from(response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    const LIMIT: Duration = Duration::from_secs(1);

    fn accepts(url: &str, options: &HttpOptions) -> bool {
        PlainClient::for_url(url, options, LIMIT).is_some()
    }

    #[test]
    fn for_url_accepts_plain_urls_only() {
        let options = HttpOptions::default();
        assert!(accepts("http://127.0.0.1:9000/bundle.tar.gz?versionId=1", &options));
        for url in ["https://127.0.0.1/a", "http://me:hunter2@127.0.0.1/a", "/a", "http://"] {
            assert!(!accepts(url, &options), "{url}");
        }
    }

    #[test]
    fn for_url_other_client_or_proxy_is_refused() {
        let url = "http://127.0.0.1:9000/";
        let proxy = Proxy::Url(Secret::new("http://proxy.example:3128"));
        assert!(!accepts(url, &HttpOptions::default().proxy(proxy)));
        let own = HttpOptions::default().build().unwrap();
        assert!(!accepts(url, &HttpOptions::default().client(Some(own))));
        assert!(accepts(url, &HttpOptions::default().proxy(Proxy::None)));
    }

    #[tokio::test]
    async fn get_unreachable_server_names_cause() {
        let client = PlainClient::for_url("http://127.0.0.1:1/", &HttpOptions::default(), LIMIT);
        let url = "http://127.0.0.1:1/secret";
        let failure = client.unwrap().get(url, HeaderMap::new()).await.unwrap_err();
        assert!(failure.to_string().contains("refused"), "{failure}");
    }
}
