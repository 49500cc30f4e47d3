//! Bundles behind a web server that answers ranges.

use std::ops::Range;
use std::sync::Once;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use compass_registry::{Digest, RetryPolicy};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};

use crate::Error;
use crate::read::{BundleSource, MAX_CHECKSUM, checksum_in};
use crate::store::redact_url;
use crate::write::CHECKSUM_END;

/// How often a read is tried.
const MAX_ATTEMPTS: u32 = 4;

/// Without a byte for so long, a server counts as gone.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A file on a web server, read in parts.
#[derive(Debug, Clone)]
pub struct HttpFile {
    client: Client,
    url: Url,
    /// The address as it may be shown.
    shown: String,
    size: u64,
}

impl HttpFile {
    /// Opens a file. Proxies come from the environment.
    ///
    /// # Errors
    /// Where it is not existing, or the server does not answer ranges.
    pub async fn open(address: &str) -> Result<Self, Error> {
        let shown = redact_url(address);
        let url: Url = address.parse().map_err(|_| Error::invalid_address(address, "not a URL"))?;
        let client = client().map_err(|error| Error::store("read", &shown, error.without_url()))?;
        let mut file = Self { client, url, shown, size: 0 };
        let response = with_retry(|| file.get(0..1)).await?;
        file.size =
            total_size(&response).ok_or_else(|| file.refused("the server gives no parts"))?;
        Ok(file)
    }

    /// What a small file beside this one holds; nothing where it is not existing, or not for us.
    async fn read_sidecar(&self, ending: &str) -> Result<Option<Vec<u8>>, Error> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{ending}", url.path()));
        let response = self.client.get(url).send().await;
        let mut response = response.map_err(|error| self.unsent(error))?;
        match response.status() {
            StatusCode::OK => {}
            status if RetryPolicy::is_transient_status(status.as_u16()) => {
                return Err(self.failed(format!("the server answered {status} for {ending}")));
            }
            _ => return Ok(None),
        }
        let mut bytes = Vec::new();
        while bytes.len() as u64 <= MAX_CHECKSUM
            && let Some(chunk) =
                response.chunk().await.map_err(|error| self.failed(error.without_url()))?
        {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }

    async fn get(&self, range: Range<u64>) -> Result<Response, Error> {
        let asked = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let request = self.client.get(self.url.clone());
        let request = request.header(RANGE, asked).header(ACCEPT_ENCODING, "identity");
        let response = request.send().await.map_err(|error| self.unsent(error))?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::OK => Err(self.refused("the server does not answer ranges: download it")),
            status if RetryPolicy::is_transient_status(status.as_u16()) => {
                Err(self.failed(format!("the server answered {status}")))
            }
            status => Err(self.refused(format!("the server answered {status}"))),
        }
    }

    async fn read_once(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut response = self.get(range.clone()).await?;
        if range_start(&response) != Some(range.start) || total_size(&response) != Some(self.size) {
            return Err(self.refused("the server gave another part than was asked for"));
        }
        let mut bytes = BytesMut::with_capacity(wanted);
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.failed(error.without_url()))?
        {
            if bytes.len() + chunk.len() > wanted {
                return Err(self.refused("the server gave more than was asked for"));
            }
            bytes.extend_from_slice(&chunk);
        }
        if bytes.len() < wanted {
            return Err(self.failed("the connection broke"));
        }
        Ok(bytes.freeze())
    }

    /// A request that was not answered, or that led nowhere.
    fn unsent(&self, error: reqwest::Error) -> Error {
        match error.is_redirect() {
            true => self.refused("the server points to an address without TLS, or in a circle"),
            false => self.failed(error.without_url()),
        }
    }

    /// What another try would not change.
    fn refused(&self, why: impl Into<String>) -> Error {
        Error::store("read", &self.shown, PermanentFailure(why.into()))
    }

    fn failed(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::store("read", &self.shown, why)
    }
}

#[async_trait]
impl BundleSource for HttpFile {
    fn name(&self) -> String {
        self.shown.clone()
    }

    fn size(&self) -> u64 {
        self.size
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        with_retry(|| self.read_once(range.clone())).await
    }

    async fn checksum(&self) -> Result<Option<Digest>, Error> {
        let Some(text) = with_retry(|| self.read_sidecar(CHECKSUM_END)).await? else {
            return Ok(None);
        };
        let name = self.url.path().rsplit('/').next().unwrap_or_default();
        let bad = |reason| Error::invalid_checksum(format!("{}{CHECKSUM_END}", self.shown), reason);
        checksum_in(&text, name.as_bytes()).map(Some).map_err(bad)
    }
}

/// Why a server does not give a file, whenever it is asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct PermanentFailure(String);

fn is_permanent(error: &Error) -> bool {
    matches!(error, Error::Store { source, .. } if source.is::<PermanentFailure>())
}

/// Reads again what could not be read, where that may help.
async fn with_retry<T, F: Future<Output = Result<T, Error>>>(
    read: impl Fn() -> F,
) -> Result<T, Error> {
    let mut attempts = 1;
    loop {
        match read().await {
            Err(error) if attempts < MAX_ATTEMPTS && !is_permanent(&error) => {
                tracing::debug!(%error, "a part is read again");
                tokio::time::sleep(Duration::from_millis(200) * attempts).await;
                attempts += 1;
            }
            read => return read,
        }
    }
}

/// The size of the whole file, of `Content-Range: bytes 0-0/<size>`.
fn total_size(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.rsplit_once('/')?.1.trim().parse().ok()
}

fn range_start(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// A client that gives up where nobody answers.
pub(super) fn client() -> reqwest::Result<Client> {
    install_crypto();
    let redirect = Policy::custom(|attempt| {
        let leaves_tls = attempt.previous().last().is_some_and(|from| from.scheme() == "https")
            && attempt.url().scheme() != "https";
        match leaves_tls {
            true => attempt.error("the server points to an address without TLS"),
            false => Policy::default().redirect(attempt),
        }
    });
    let client = Client::builder().redirect(redirect);
    client.connect_timeout(IDLE_TIMEOUT).read_timeout(IDLE_TIMEOUT).build()
}

/// Lets rustls use ring, unless the program has chosen already.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that a provider is installed, which is just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
