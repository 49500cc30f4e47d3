//! What a refusal says about logging in, and the header that may help.

use reqwest::StatusCode;
use reqwest::header::WWW_AUTHENTICATE;

use super::refusal::Refusal;
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
        refusal: &Refusal,
        sent: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        if !self.is_own(&refusal.url) {
            return Ok(None);
        }
        let (door, scope) = (self.door(), &request.scope);
        match (refusal.status, sent) {
            (StatusCode::UNAUTHORIZED, _) => match challenge_of(refusal) {
                Some(challenge) => self.0.auth.answer(door, &challenge, scope, sent).await,
                None => match sent {
                    None => self.ask_root(request).await,
                    // The token may have expired.
                    Some(sent) => self.0.auth.renew(door, scope, sent).await,
                },
            },
            // Private images are hidden from those who do not say who they are.
            (StatusCode::FORBIDDEN | StatusCode::NOT_FOUND, None) => self.ask_root(request).await,
            (_, Some(sent)) if refusal.complains_of_token() => {
                self.0.auth.renew(door, scope, sent).await
            }
            // Some registries say so instead where a token is not for the repository.
            (StatusCode::FORBIDDEN, sent) => self.0.auth.alone(door, scope, sent).await,
            _ => Ok(None),
        }
    }

    /// Asks `/v2/` once how to log in, as Docker does first of all, and gives the header that
    /// follows from it.
    async fn ask_root(&self, request: &Request) -> Result<Option<Secret>, Error> {
        if self.0.auth.login(&request.scope).is_none() {
            return Ok(None);
        }
        let ask = || async {
            let root = self.root_request("", "");
            // If it fails, the first refusal stands.
            if let Ok(response) = self.follow(&root, None).await
                && response.status() == StatusCode::UNAUTHORIZED
                && self.is_own(response.url())
            {
                let refusal = Refusal::read(response, self.0.retry.idle_timeout).await;
                if let Some(challenge) = challenge_of(&refusal) {
                    self.0.auth.remember(&challenge);
                }
            }
        };
        self.0.asked_root.get_or_init(ask).await;
        self.0.auth.known(self.door(), &request.scope).await
    }
}

/// The challenge that can be answered best.
fn challenge_of(refusal: &Refusal) -> Option<Challenge> {
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
pub(super) fn unknown_scheme(refusal: &Refusal) -> Option<String> {
    if challenge_of(refusal).is_some() {
        return None;
    }
    challenges(refusal).into_iter().find_map(|one| match one {
        Challenge::Other(scheme) => Some(scheme),
        _ => None,
    })
}

fn challenges(refusal: &Refusal) -> Vec<Challenge> {
    let values = refusal.headers.get_all(WWW_AUTHENTICATE).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(challenge::parse).collect()
}
