//! The JSON of the app and of its installation.

use serde_json::{Value, json};

use super::json::time;
use super::world::World;

fn permissions() -> Value {
    json!({"contents": "read", "issues": "write", "pull_requests": "write", "statuses": "write"})
}

/// The app `compass`, as it sees itself.
pub(super) fn app_json(world: &mut World) -> Value {
    json!({
        "id": 7,
        "slug": "compass",
        "node_id": "A_7",
        "owner": world.user_json("caicloud"),
        "name": "compass",
        "description": null,
        "external_url": "https://bot.example",
        "html_url": "https://forge.example/apps/compass",
        "created_at": time(1_700_000_000),
        "updated_at": time(1_700_000_000),
        "permissions": permissions(),
        "events": ["pull_request", "issue_comment"],
    })
}

/// The installation of the app for the owner of the repository.
pub(super) fn installation_json(world: &mut World) -> Value {
    let account = world.user_json("caicloud");
    json!({
        "id": 77,
        "app_id": 7,
        "app_slug": "compass",
        "target_id": account["id"],
        "target_type": "Organization",
        "account": account,
        "single_file_name": null,
        "repository_selection": "selected",
        "access_tokens_url": "https://forge.example/app/installations/77/access_tokens",
        "html_url": "https://forge.example/settings/installations/77",
        "repositories_url": "https://forge.example/installation/repositories",
        "events": ["pull_request", "issue_comment"],
        "permissions": permissions(),
        "created_at": time(1_700_000_000),
        "updated_at": time(1_700_000_000),
        "suspended_by": null,
        "suspended_at": null,
    })
}
