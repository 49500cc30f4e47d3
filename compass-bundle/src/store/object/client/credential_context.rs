//! The context of credential providers: variables, files and HTTP requests.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use reqsign_core::{Context, Error, FileRead, HttpSend, Result, StaticEnv};

use super::super::settings::StoreEnvironment;

/// Maximum size of a credential file or an answer in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The time limit for requests to the metadata service of an instance. On other machines, its
/// address does not respond.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);

/// The time limit for requests to token services.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Creates the context of credential providers.
///
/// Providers that run programs (`credential_process`) are not supported.
pub(super) fn context(environment: &StoreEnvironment, http: reqwest::Client) -> Context {
    let env = StaticEnv {
        home_dir: environment.home().map(Into::into),
        envs: environment.variables().clone(),
    };
    Context::new().with_env(env).with_file_read(Files).with_http_send(Http(http))
}

#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> Result<Vec<u8>> {
        let failed =
            |error: std::io::Error| Error::unexpected("cannot read a file").with_source(error);
        let size = tokio::fs::metadata(path).await.map_err(failed)?.len();
        if size > MAX_BYTES as u64 {
            return Err(Error::config_invalid("the file is too large"));
        }
        tokio::fs::read(path).await.map_err(failed)
    }
}

#[derive(Debug)]
struct Http(reqwest::Client);

impl HttpSend for Http {
    async fn http_send(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        let failed = |error: reqwest::Error| {
            // URLs of token services can contain secrets.
            Error::unexpected("a request for credentials failed").with_source(error.without_url())
        };
        let host = request.uri().host().unwrap_or_default();
        let is_metadata = matches!(host, "169.254.169.254" | "169.254.170.2" | "100.100.100.200");
        let limit = if is_metadata { METADATA_TIMEOUT } else { TOKEN_TIMEOUT };
        let mut request = reqwest::Request::try_from(request).map_err(failed)?;
        *request.timeout_mut() = Some(limit);
        let mut response = self.0.execute(request).await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_BYTES {
                return Err(Error::unexpected("the answer of a credential service is too large"));
            }
        }
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}
