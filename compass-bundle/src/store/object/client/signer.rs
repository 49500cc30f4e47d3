//! Signs requests with the credentials of the user.

use http::header::HOST;
use http::{HeaderMap, HeaderValue};
use reqsign_aliyun_oss as oss;
use reqsign_core::{Context, ErrorKind};

use super::super::address::Provider;
use super::super::settings::{CredentialSource, Settings, SignatureVersion};
use super::request::Request;
use super::request_error::{RequestError, credential_variables};

/// Signs the requests to a bucket. Credentials are loaded once, and again before they expire.
#[derive(Debug, Clone)]
pub(super) enum Signer {
    S3(reqsign_core::Signer<reqsign_aws_v4::Credential>),
    Oss(reqsign_core::Signer<oss::Credential>),
    Anonymous,
}

impl Signer {
    pub(super) fn new(settings: &Settings, context: Context) -> Self {
        match (settings.provider, &settings.credentials) {
            (_, CredentialSource::Anonymous) => Self::Anonymous,
            (Provider::S3, _) => {
                let signer = reqsign_aws_v4::RequestSigner::new("s3", &settings.region);
                let provider = reqsign_aws_v4::DefaultCredentialProvider::new();
                Self::S3(reqsign_core::Signer::new(context, provider, signer))
            }
            (Provider::Oss, source) => {
                let signer = oss::RequestSigner::new(&settings.bucket);
                let signer = match settings.signature {
                    SignatureVersion::V1 => signer.with_signing_version(oss::SigningVersion::V1),
                    SignatureVersion::V4 => signer
                        .with_region(settings.region.as_str())
                        .with_signing_version(oss::SigningVersion::V4),
                };
                let provider = oss_provider(source);
                Self::Oss(reqsign_core::Signer::new(context, provider, signer))
            }
        }
    }

    /// Returns the headers of the signed request.
    ///
    /// # Errors
    /// [`RequestError::NoCredentials`] or [`RequestError::Unsigned`].
    pub(super) async fn sign(
        &self,
        request: &Request,
        settings: &Settings,
    ) -> Result<HeaderMap, RequestError> {
        let uri = request.signed_uri(settings);
        let uri = uri.map_err(|error| RequestError::Unsigned(error.to_string()))?;
        let (mut parts, ()) = http::Request::new(()).into_parts();
        (parts.method, parts.uri, parts.headers) =
            (request.method.clone(), uri, request.headers.clone());
        let host = HeaderValue::from_str(&Request::authority(settings));
        parts
            .headers
            .insert(HOST, host.map_err(|error| RequestError::Unsigned(error.to_string()))?);
        let signed = match self {
            Self::S3(signer) => signer.sign(&mut parts, None).await,
            Self::Oss(signer) => signer.sign(&mut parts, None).await,
            Self::Anonymous => Ok(()),
        };
        signed.map_err(|error| sign_error(&error, settings.provider))?;
        // The HTTP client sets the header from the URL.
        parts.headers.remove(HOST);
        Ok(parts.headers)
    }
}

fn oss_provider(source: &CredentialSource) -> oss::DefaultCredentialProvider {
    match source {
        CredentialSource::Default | CredentialSource::Anonymous => {
            oss::DefaultCredentialProvider::new()
        }
        CredentialSource::InstanceRole(name) => {
            let provider = oss::EcsRamRoleCredentialProvider::new();
            let provider = match name {
                Some(name) => provider.with_role_name(name.as_str()),
                None => provider,
            };
            oss::DefaultCredentialProvider::new().push_front(provider)
        }
        CredentialSource::Keys { id, secret, token, role } => {
            let keys = oss::StaticCredentialProvider::new(id, secret);
            let keys = match token {
                Some(token) => keys.with_security_token(token),
                None => keys,
            };
            let Some(role) = role else {
                return oss::DefaultCredentialProvider::new().push_front(keys);
            };
            let assumed = oss::AssumeRoleCredentialProvider::new()
                .with_base_provider(keys)
                .with_role_arn(role.arn.as_str());
            let assumed = match &role.session {
                Some(session) => assumed.with_role_session_name(session.as_str()),
                None => assumed,
            };
            oss::DefaultCredentialProvider::new().push_front(assumed)
        }
    }
}

/// Converts an error of the signer, whose messages contain no secrets.
fn sign_error(error: &reqsign_core::Error, provider: Provider) -> RequestError {
    match error.kind() {
        ErrorKind::CredentialInvalid => RequestError::NoCredentials(credential_variables(provider)),
        _ => RequestError::Unsigned(error.to_string()),
    }
}
