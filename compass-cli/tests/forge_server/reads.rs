//! The answers to requests that change nothing.

use serde_json::{Value, json};

use super::api::{Call, Content, not_found};
use super::app::{app_json, installation_json};
use super::git;
use super::json::user;
use super::world::World;

/// Reads a resource outside of a repository.
pub(super) fn account(world: &mut World, call: &Call<'_>, login: Option<&str>) -> Content {
    match (call.path.as_slice(), login) {
        (["user"], Some(login)) => Content::Json(200, world.user_json(login)),
        (["user"], None) => {
            Content::Json(403, json!({"message": "Resource not accessible by integration"}))
        }
        (["users", login], _) => match world.users.get(*login) {
            Some(account) => Content::Json(200, user(account)),
            None => not_found(),
        },
        (["app"], Some("app")) => Content::Json(200, app_json(world)),
        (["app", "installations", "77", "access_tokens"], Some("app")) => {
            let token = format!("ghs_{}", world.id());
            world.add_user("compass[bot]", true, "write");
            world.tokens.insert(token.clone(), Some("compass[bot]".to_owned()));
            let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
            Content::Json(201, json!({"token": token, "expires_at": expires.to_string()}))
        }
        (["app", "hook", "deliveries"], Some("app")) => attempts(world),
        (["app", "hook", "deliveries", id], Some("app")) => attempt(world, id),
        _ => not_found(),
    }
}

/// Reads a resource of a repository.
pub(super) fn read(world: &mut World, call: &Call<'_>, full_name: &str) -> Content {
    match call.path[..] {
        [] => {
            let mut repository = world.repository_json(full_name);
            // Only this answer has these numbers.
            (repository["network_count"], repository["subscribers_count"]) = (json!(1), json!(1));
            Content::Json(200, repository)
        }
        ["installation"] => Content::Json(200, installation_json(world)),
        ["hooks", ..] if !world.shows_hooks => not_found(),
        ["hooks"] => {
            let hook =
                |id: u64, url: &str| json!({"id": id, "active": true, "config": {"url": url}});
            let (own, other) = ("https://bot.example/webhook", "https://ci.example/github");
            Content::List(vec![hook(1, other), hook(2, own)])
        }
        ["hooks", "2", "deliveries"] => attempts(world),
        ["hooks", "2", "deliveries", id] => attempt(world, id),
        ["activity"] => activity(world, call, full_name),
        ["pulls"] => pulls(world, call),
        ["pulls", number] => match known(world, number) {
            Some(number) => Content::Json(200, world.pull_json(number)),
            None => not_found(),
        },
        ["pulls" | "issues", number, list] => match known(world, number) {
            Some(number) => list_of(world, number, list),
            None => not_found(),
        },
        ["collaborators", login, "permission"] => permission(world, login),
        ["commits", commit, "status"] => statuses(world, commit),
        ["compare", range] => compare(world, range),
        ["git", kind, ref path @ ..] => git_object(world, kind, &path.join("/")),
        _ => not_found(),
    }
}

/// The attempts to deliver webhooks, newest first.
fn attempts(world: &World) -> Content {
    let items = world.deliveries.iter().enumerate().map(|(index, delivery)| {
        let code = if world.undelivered.contains(&delivery.id) { 502 } else { 202 };
        json!({
            "id": index + 1,
            "guid": delivery.id,
            "delivered_at": "2026-11-29T00:00:00Z",
            "redelivery": false,
            "duration": 0.1,
            "status": if code == 202 { "OK" } else { "Bad Gateway" },
            "status_code": code,
            "event": delivery.event,
            "action": delivery.payload["action"],
            "installation_id": null,
            "repository_id": 1,
        })
    });
    let mut items: Vec<Value> = items.collect();
    items.reverse();
    Content::List(items)
}

fn attempt(world: &World, id: &str) -> Content {
    let index = id.parse::<usize>().unwrap_or_default().wrapping_sub(1);
    let Some(delivery) = world.deliveries.get(index) else { return not_found() };
    let request = json!({"headers": {}, "payload": delivery.payload});
    Content::Json(200, json!({"id": index + 1, "guid": delivery.id, "request": request}))
}

/// Reads an object of git. Blobs are sent without a wrapper, which clients ask for.
fn git_object(world: &World, kind: &str, name: &str) -> Content {
    let Some(git) = &world.git else { return not_found() };
    let found = match kind {
        "blobs" => git::blob(git, name).map(Content::Raw),
        "trees" => git::tree(git, name, world.truncates_trees).map(|tree| Content::Json(200, tree)),
        "commits" => git::commit(git, name).map(|commit| Content::Json(200, commit)),
        "ref" => name
            .strip_prefix("heads/")
            .and_then(|branch| git::branch(git, branch))
            .map(|branch| Content::Json(200, branch)),
        _ => None,
    };
    found.unwrap_or_else(not_found)
}

/// The number of a pull request that exists.
pub(super) fn known(world: &World, number: &str) -> Option<u64> {
    number.parse().ok().filter(|number| world.pulls.contains_key(number))
}

fn pulls(world: &mut World, call: &Call<'_>) -> Content {
    let state = call.parameter("state").unwrap_or("open").to_owned();
    let matching = world.pulls.values().filter(|pull| state == "all" || pull.state == state);
    let numbers: Vec<u64> = matching.map(|pull| pull.number).collect();
    Content::List(numbers.into_iter().map(|number| world.pull_json(number)).collect())
}

fn list_of(world: &mut World, number: u64, list: &str) -> Content {
    let pull = world.pull(number).clone();
    Content::List(match list {
        "comments" => {
            pull.comments.iter().map(|comment| world.comment_json(number, comment)).collect()
        }
        "reviews" => pull.reviews.iter().map(|review| world.review_json(number, review)).collect(),
        "events" => pull.events.iter().map(|event| world.event_json(event)).collect(),
        "labels" => pull.labels.iter().map(|label| world.label_json(label)).collect(),
        "files" => match &world.git {
            Some(git) => files(git::changed(git, &world.base_commit, &pull.head)),
            None => Vec::new(),
        },
        _ => return not_found(),
    })
}

fn files(changed: Vec<(String, String)>) -> Vec<Value> {
    let file = |(path, status)| json!({"filename": path, "status": status, "changes": 1});
    changed.into_iter().map(file).collect()
}

fn activity(world: &mut World, call: &Call<'_>, full_name: &str) -> Content {
    if !world.shows_activity {
        return not_found();
    }
    let branch = call.parameter("ref").and_then(|name| name.strip_prefix("refs/heads/"));
    let found = world.pulls.values().find(|pull| {
        Some(pull.branch.as_str()) == branch && pull.head_repository.as_deref() == Some(full_name)
    });
    match found.map(|pull| pull.number) {
        Some(number) => Content::List(world.activity_json(number)),
        None => Content::List(Vec::new()),
    }
}

fn permission(world: &World, login: &str) -> Content {
    match world.users.get(login) {
        Some(account) => {
            let coarse = match account.permission {
                "maintain" => "write",
                "triage" => "read",
                other => other,
            };
            let value = json!({
                "permission": coarse,
                "role_name": account.permission,
                "user": user(account),
            });
            Content::Json(200, value)
        }
        None => not_found(),
    }
}

/// The latest status of each context.
fn statuses(world: &World, commit: &str) -> Content {
    let mut latest: Vec<Value> = Vec::new();
    for status in world.statuses.get(commit).into_iter().flatten().rev() {
        if latest.iter().all(|other| other["context"] != status.context.as_str()) {
            latest.push(json!({
                "context": status.context,
                "state": status.state,
                "description": status.description,
                "target_url": status.target_url,
            }));
        }
    }
    Content::Json(200, json!({"sha": commit, "statuses": latest}))
}

fn compare(world: &World, range: &str) -> Content {
    match (&world.git, range.split_once("...")) {
        (Some(git), Some((base, head))) => match git::merge_base(git, base, head) {
            Some(sha) => {
                Content::Json(200, json!({"merge_base_commit": {"sha": sha}, "commits": []}))
            }
            None => not_found(),
        },
        _ => not_found(),
    }
}
