//! What a refusal says about logging in, and the header that may help.

use reqwest::StatusCode;
use reqwest::header::WWW_AUTHENTICATE;

use super::refusal::ErrorResponse;
use super::{Request, Transport};
use crate::Error;
use crate::client::challenge::{self, Challenge};
use crate::client::credentials::Secret;

impl Transport {
    /// The header to retry with after a refusal, or `None` if no header can help. A host that the
    /// registry redirected to never gets credentials.
    pub(super) async fn authorize(
        &self,
        request: &Request,
        refusal: &ErrorResponse,
        sent: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        if !self.is_registry_origin(&refusal.url) {
            return Ok(None);
        }
        let (endpoint, scope) = (self.endpoint(), &request.scope);
        match (refusal.status, sent) {
            (StatusCode::UNAUTHORIZED, _) => match best_challenge(refusal) {
                Some(challenge) => {
                    self.0.auth.answer_challenge(endpoint, &challenge, scope, sent).await
                }
                None => match sent {
                    None => self.fetch_root_challenge(request).await,
                    // The token may have expired.
                    Some(sent) => self.0.auth.renew_token(endpoint, scope, sent).await,
                },
            },
            // Private images are hidden from those who do not say who they are.
            (StatusCode::FORBIDDEN | StatusCode::NOT_FOUND, None) => {
                self.fetch_root_challenge(request).await
            }
            (_, Some(sent)) if refusal.is_token_rejected() => {
                self.0.auth.renew_token(endpoint, scope, sent).await
            }
            // Some registries say so instead where a token is not for the repository.
            (StatusCode::FORBIDDEN, sent) => {
                self.0.auth.single_scope_header(endpoint, scope, sent).await
            }
            _ => Ok(None),
        }
    }

    /// Asks `/v2/` once how to log in, as Docker does first of all, and gives the header that
    /// follows from it.
    async fn fetch_root_challenge(&self, request: &Request) -> Result<Option<Secret>, Error> {
        if self.0.auth.login_for(&request.scope).is_none() {
            return Ok(None);
        }
        let ask = || async {
            let root = self.root_request("", "");
            // If it fails, the first refusal stands.
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
        self.0.auth.cached_header(self.endpoint(), &request.scope).await
    }
}

/// The challenge that can be answered best.
fn best_challenge(refusal: &ErrorResponse) -> Option<Challenge> {
    // A token is worth less to a thief than a password.
    let worth = |one: &Challenge| match one {
        Challenge::Bearer { .. } => 2,
        Challenge::Basic => 1,
        Challenge::Other(_) => 0,
    };
    let known = challenges(refusal).into_iter().filter(|one| worth(one) > 0);
    known.max_by_key(worth)
}

/// The scheme of a challenge that nothing here answers.
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
