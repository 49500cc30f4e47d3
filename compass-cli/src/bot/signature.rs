//! The signature of a webhook: HMAC-SHA256 of the raw body, in `X-Hub-Signature-256`.

use compass_registry::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::error::{CliError, Result};

/// The variable with the secret of the webhook.
const SECRET: &str = "COMPASS_WEBHOOK_SECRET";

/// The header with the signature. `X-Hub-Signature` is an older one with SHA-1, which does not count.
pub(super) const HEADER: &str = "x-hub-signature-256";

/// The secret that the forge signs with.
#[derive(Debug, Clone)]
pub(crate) struct WebhookSecret(Secret);

/// Computes the signature of a body that arrives in pieces.
pub(super) struct Verifier(Hmac<Sha256>);

/// The signature that a request carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature(Vec<u8>);

impl WebhookSecret {
    /// Reads the secret from the environment.
    pub(crate) fn from_environment() -> Result<Self> {
        match std::env::var(SECRET) {
            Ok(text) if !text.trim().is_empty() => Ok(Self(Secret::new(text.trim()))),
            _ => Err(CliError::usage(format!("the secret of the webhook is not set: {SECRET}"))
                .hint(format!(
                    "export {SECRET}=\"$(openssl rand -hex 32)\", and enter the same text at the forge"
                ))),
        }
    }

    /// Returns a warning if the secret can be guessed.
    pub(crate) fn weakness(&self) -> Option<String> {
        let is_short = self.0.reveal().len() < 16;
        is_short.then(|| format!("{SECRET} has less than 16 characters, and could be guessed"))
    }

    #[cfg(test)]
    pub(super) fn new(text: &str) -> Self {
        Self(Secret::new(text))
    }

    pub(super) fn verifier(&self) -> Option<Verifier> {
        Hmac::new_from_slice(self.0.reveal().as_bytes()).ok().map(Verifier)
    }
}

impl Verifier {
    pub(super) fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Compares the signatures in constant time.
    pub(super) fn matches(self, signature: &Signature) -> bool {
        self.0.verify_slice(&signature.0).is_ok()
    }
}

impl Signature {
    /// Parses the form `sha256=HEX`.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let hex = header.strip_prefix("sha256=")?;
        let pairs = hex.as_bytes().chunks(2).map(|pair| {
            let text = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(text, 16).ok()
        });
        let is_hex = hex.len() == 2 * LENGTH && hex.bytes().all(|c| c.is_ascii_hexdigit());
        is_hex.then(|| pairs.collect::<Option<Vec<u8>>>())?.map(Self)
    }
}

/// The number of bytes of a signature.
const LENGTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(header: &str, pieces: &[&[u8]]) -> bool {
        let secret = WebhookSecret::new("It's a Secret to Everybody");
        let mut verifier = secret.verifier().unwrap();
        for piece in pieces {
            verifier.update(piece);
        }
        Signature::parse(header).is_some_and(|signature| verifier.matches(&signature))
    }

    #[test]
    fn signature_matches_published_example() {
        // The example in the documentation of GitHub.
        let valid = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(verify(valid, &[b"Hello, World!"]));
        assert!(verify(valid, &[b"Hello", b"", b", World!"]));
        assert!(verify(&valid.replace("757107EA", "757107ea"), &[b"Hello, World!"]));
        assert!(!verify(valid, &[b"Hello, World?"]));
        assert!(!verify(&valid.replace("757", "758"), &[b"Hello, World!"]));
    }

    #[test]
    fn signature_other_forms_are_rejected() {
        let hex = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        for header in ["", "sha256=", hex, &format!("sha1={hex}"), &format!("sha256={}", &hex[2..])]
        {
            assert_eq!(Signature::parse(header), None, "{header}");
        }
        assert_eq!(Signature::parse(&format!("sha256=+{}", &hex[1..])), None);
        assert_eq!(Signature::parse(&format!("sha256={}é", &hex[2..])), None);
    }
}
