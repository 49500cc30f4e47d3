//! The credentials: a token, or an app, which gets a token for each installation.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use compass_registry::Secret;
use jiff::{SignedDuration, Timestamp};
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::SigningKey;
use serde_json::json;
use tokio::sync::Mutex;

use super::super::Result;
use super::super::error::ForgeError;

/// The credentials of a client.
#[derive(Debug)]
pub(in crate::forge) struct Credentials(pub(super) Kind);

pub(super) enum Kind {
    Token(Secret),
    App(App),
}

/// An app, which signs in with its private key.
pub(super) struct App {
    id: String,
    key: Arc<dyn SigningKey>,
    /// The token of the installation, once it was requested.
    pub(super) token: Mutex<Option<InstallationToken>>,
}

/// A token of an installation, which is valid for an hour.
pub(super) struct InstallationToken {
    pub(super) token: Secret,
    pub(super) expires: Timestamp,
}

/// A token is renewed this long before it expires.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_mins(5);

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token(…)"),
            Self::App(app) => write!(f, "App({})", app.id),
        }
    }
}

impl Credentials {
    pub(in crate::forge) fn token(token: Secret) -> Self {
        Self(Kind::Token(token))
    }

    /// Creates the credentials of an app from its private key in PEM form.
    pub(in crate::forge) fn app(id: &str, pem: &Secret) -> Result<Self> {
        let invalid = |message: &str| ForgeError::Settings {
            message: format!("GITHUB_APP_PRIVATE_KEY {message}"),
            hint: "use the whole content of the `.pem` file that the app's settings page gives"
                .to_owned(),
        };
        // Some systems cannot store variables with several lines.
        let pem = Secret::new(pem.reveal().replace("\\n", "\n"));
        let key = PrivateKeyDer::from_pem_slice(pem.reveal().as_bytes())
            .map_err(|_| invalid("is not a private key in PEM form"))?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key)
            .map_err(|_| invalid("is not a private key that can sign"))?;
        if key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).is_none() {
            return Err(invalid("is not an RSA key"));
        }
        let id = id.trim().to_owned();
        Ok(Self(Kind::App(App { id, key, token: Mutex::new(None) })))
    }
}

impl InstallationToken {
    /// Whether the token can be used at a time.
    pub(super) fn is_valid(&self, now: Timestamp) -> bool {
        now + RENEW_BEFORE < self.expires
    }
}

impl App {
    /// Creates the signed statement that identifies the app (RFC 7519, RS256).
    pub(super) fn assertion(&self, now: Timestamp) -> Result<Secret> {
        // The issue time is in the past, and the statement valid for less than the ten minutes that
        // GitHub allows, because clocks differ.
        let now = now.as_second();
        let claims = json!({"iat": now - 60, "exp": now + 480, "iss": self.id});
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let header = encode(&json!({"alg": "RS256", "typ": "JWT"}).to_string());
        let message = format!("{header}.{}", encode(&claims.to_string()));
        let failed = || ForgeError::Settings {
            message: "GITHUB_APP_PRIVATE_KEY cannot sign".to_owned(),
            hint: "generate another key on the app's settings page".to_owned(),
        };
        let signer = self.key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]);
        let signature = signer.ok_or_else(failed)?.sign(message.as_bytes());
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature.map_err(|_| failed())?);
        Ok(Secret::new(format!("{message}.{signature}")))
    }
}
