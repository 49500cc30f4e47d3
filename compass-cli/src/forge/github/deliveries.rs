//! The webhooks that the service could not deliver. It keeps them for three days, and does not repeat
//! them.

use std::collections::BTreeSet;

use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

use super::super::{MissedDelivery, Result};
use super::GitHub;
use super::answer::or_default;

/// The maximum number of pages of a list, which have 100 attempts each.
const MAX_PAGES: usize = 10;

/// The maximum number of payloads that are read.
const MAX_PAYLOADS: usize = 100;

/// The end of the address of a webhook of the bot.
const PATH: &str = "/webhook";

/// A webhook of the repository.
#[derive(Default, Deserialize)]
#[serde(default)]
struct HookItem {
    id: u64,
    #[serde(deserialize_with = "or_default")]
    config: HookConfiguration,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HookConfiguration {
    #[serde(deserialize_with = "or_default")]
    url: String,
}

/// An attempt to deliver a webhook.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AttemptItem {
    id: u64,
    /// The same for all attempts of a delivery.
    #[serde(deserialize_with = "or_default")]
    guid: String,
    #[serde(deserialize_with = "or_default")]
    status_code: u16,
    #[serde(deserialize_with = "or_default")]
    event: String,
}

/// An attempt with its request.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AttemptDetails {
    #[serde(deserialize_with = "or_default")]
    request: SentRequest,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SentRequest {
    payload: Value,
}

impl GitHub {
    /// Reads the payloads of the newest deliveries without a successful attempt.
    pub(super) async fn failed_deliveries(&self, events: &[&str]) -> Result<Vec<MissedDelivery>> {
        let action = "list the webhooks that failed";
        let mut missed = Vec::new();
        for hook in self.hooks().await? {
            let attempts = self.attempts(action, &hook).await?;
            for AttemptItem { id, event, .. } in without_success(attempts) {
                if missed.len() >= MAX_PAYLOADS {
                    return Ok(missed);
                }
                if !events.contains(&event.as_str()) {
                    continue;
                }
                let url = self.resource(&hook, &[&id.to_string()], &[]).await?;
                let (details, _): (AttemptDetails, _) =
                    self.transport.get_page_as_owner(action, url).await?;
                missed.push(MissedDelivery { event, payload: details.request.payload });
            }
        }
        Ok(missed)
    }

    /// The paths of the webhooks: that of the app, or those of the repository that a bot can have.
    async fn hooks(&self) -> Result<Vec<Hook>> {
        if self.transport.is_app() {
            return Ok(vec![Hook::App]);
        }
        let action = "list the webhooks of the repository";
        let hooks: Vec<HookItem> =
            self.transport.get_pages(action, self.url(&["hooks"], &[]).await?).await?;
        let is_bot = |hook: &HookItem| hook.config.url.trim_end_matches('/').ends_with(PATH);
        Ok(hooks.iter().filter(|hook| is_bot(hook)).map(|hook| Hook::Repository(hook.id)).collect())
    }

    /// The newest attempts of a webhook, newest first.
    async fn attempts(&self, action: &str, hook: &Hook) -> Result<Vec<AttemptItem>> {
        let mut attempts = Vec::new();
        let mut next = Some(self.resource(hook, &[], &[("per_page", "100")]).await?);
        for _ in 0..MAX_PAGES {
            let Some(url) = next else { break };
            let (page, more): (Vec<AttemptItem>, _) =
                self.transport.get_page_as_owner(action, url).await?;
            attempts.extend(page);
            next = more;
        }
        Ok(attempts)
    }

    /// The URL of the deliveries of a webhook, or of one of them.
    async fn resource(&self, hook: &Hook, path: &[&str], query: &[(&str, &str)]) -> Result<Url> {
        match hook {
            Hook::App => {
                let path = [&["app", "hook", "deliveries"], path].concat();
                Ok(self.transport.url(&path, query))
            }
            Hook::Repository(id) => {
                let id = id.to_string();
                self.url(&[&["hooks", &id, "deliveries"], path].concat(), query).await
            }
        }
    }
}

/// The owner of a webhook.
enum Hook {
    App,
    Repository(u64),
}

/// The newest attempt of each delivery that no attempt delivered.
fn without_success(attempts: Vec<AttemptItem>) -> Vec<AttemptItem> {
    let is_success = |attempt: &&AttemptItem| (200..300).contains(&attempt.status_code);
    let mut known: BTreeSet<String> =
        attempts.iter().filter(is_success).map(|attempt| attempt.guid.clone()).collect();
    attempts.into_iter().filter(|attempt| known.insert(attempt.guid.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_success_keeps_failed_deliveries() {
        let attempt = |id, guid: &str, status_code| AttemptItem {
            id,
            guid: guid.to_owned(),
            status_code,
            event: "push".to_owned(),
        };
        // The attempts are listed newest first; the delivery b was repeated with success.
        let attempts = vec![
            attempt(5, "c", 502),
            attempt(4, "b", 202),
            attempt(3, "b", 503),
            attempt(2, "c", 0),
            attempt(1, "a", 200),
        ];
        let ids: Vec<u64> = without_success(attempts).iter().map(|attempt| attempt.id).collect();
        assert_eq!(ids, [5]);
    }
}
