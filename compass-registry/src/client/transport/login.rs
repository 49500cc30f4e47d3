//! Authentication after a refused request.

use reqwest::StatusCode;
use reqwest::header::WWW_AUTHENTICATE;

use super::{Request, Transport};
use crate::client::challenge::{self, Challenge};
use crate::client::error::ErrorResponse;
use crate::{Error, Secret};

impl Transport {
    /// Returns the header to retry with, or `None` if no header can help.
    ///
    /// A host that the registry redirected to never gets credentials.
    pub(super) async fn authorize(
        &self,
        request: &Request,
        refusal: &ErrorResponse,
        sent: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        if !self.is_registry_origin(&refusal.url) {
            return Ok(None);
        }
        let auth_request = self.auth_request(request);
        match (refusal.status, sent) {
            (StatusCode::UNAUTHORIZED, _) => match best_challenge(refusal) {
                Some(challenge) => {
                    self.0.auth.answer_challenge(auth_request, &challenge, sent).await
                }
                None => match sent {
                    None => self.fetch_root_challenge(request).await,
                    // The token may have expired.
                    Some(sent) => self.0.auth.renew_token(auth_request, sent).await,
                },
            },
            // Registries hide private images from anonymous clients.
            (StatusCode::FORBIDDEN | StatusCode::NOT_FOUND, None) => {
                self.fetch_root_challenge(request).await
            }
            (_, Some(sent)) if refusal.is_token_rejected() => {
                self.0.auth.renew_token(auth_request, sent).await
            }
            // Some registries answer 403 if a token does not cover the repository.
            (StatusCode::FORBIDDEN, sent) => {
                self.0.auth.single_scope_header(auth_request, sent).await
            }
            _ => Ok(None),
        }
    }

    /// Requests `/v2/` once for a challenge, as Docker does first, and returns the header for it.
    async fn fetch_root_challenge(&self, request: &Request) -> Result<Option<Secret>, Error> {
        if self.0.auth.is_anonymous(&request.scope) {
            return Ok(None);
        }
        let ask = || async {
            let root = self.root_request("", "");
            // If this fails, the first refusal is reported.
            if let Ok(response) = self.send_following_redirects(&root, None).await
                && response.status() == StatusCode::UNAUTHORIZED
                && self.is_registry_origin(response.url())
            {
                let refusal = ErrorResponse::read(response, self.0.retry.idle_timeout).await;
                if let Some(challenge) = best_challenge(&refusal) {
                    self.0.auth.remember_challenge(&challenge);
                }
            }
        };
        self.0.asked_root.get_or_init(ask).await;
        self.0.auth.cached_header(self.auth_request(request)).await
    }
}

/// Returns the most secure challenge that this client supports.
fn best_challenge(refusal: &ErrorResponse) -> Option<Challenge> {
    // Prefer tokens: a stolen token does less damage than a stolen password.
    let worth = |one: &Challenge| match one {
        Challenge::Bearer { .. } => 2,
        Challenge::Basic => 1,
        Challenge::Other(_) => 0,
    };
    let known = challenges(refusal).into_iter().filter(|one| worth(one) > 0);
    known.max_by_key(worth)
}

/// Returns the scheme of a challenge that this client does not support.
pub(super) fn unsupported_scheme(refusal: &ErrorResponse) -> Option<String> {
    if best_challenge(refusal).is_some() {
        return None;
    }
    challenges(refusal).into_iter().find_map(|one| match one {
        Challenge::Other(scheme) => Some(scheme),
        _ => None,
    })
}

fn challenges(refusal: &ErrorResponse) -> Vec<Challenge> {
    let values = refusal.headers.get_all(WWW_AUTHENTICATE).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(challenge::parse).collect()
}
