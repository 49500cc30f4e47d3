//! The answers to requests that change something.

use serde_json::{Value, json};

use super::api::{Call, Content, invalid, not_found};
use super::reads::known;
use super::world::{Status, World};

/// The maximum number of characters of a comment.
const MAX_COMMENT: usize = 65_536;

/// The maximum number of characters of a status.
const MAX_DESCRIPTION: usize = 140;

pub(super) fn write(world: &mut World, call: &Call<'_>) -> Content {
    let text = |name: &str| call.body[name].as_str().unwrap_or_default();
    match (call.method, &call.path[..]) {
        ("POST", ["issues", number, "comments"]) => match known(world, number) {
            Some(number) => create_comment(world, number, call.login, text("body")),
            None => not_found(),
        },
        ("PATCH", ["issues", "comments", id]) => update_comment(world, id, text("body")),
        ("DELETE", ["issues", "comments", id]) => match id.parse() {
            Ok(id) if world.number_of_comment(id).is_some() => {
                world.delete_comment(id);
                Content::Empty(204)
            }
            _ => not_found(),
        },
        ("POST", ["issues", number, "labels"]) => match known(world, number) {
            Some(number) => add_labels(world, number, call),
            None => not_found(),
        },
        ("DELETE", ["issues", number, "labels", label]) => match known(world, number) {
            Some(number) if world.remove_label(number, call.login, label) => {
                Content::Json(200, json!([]))
            }
            _ => Content::Json(404, json!({"message": "Label does not exist"})),
        },
        ("POST", ["statuses", commit]) => set_status(world, commit, call.body),
        ("POST", ["pulls"]) => create_pull(world, call),
        _ => not_found(),
    }
}

fn create_comment(world: &mut World, number: u64, login: &str, body: &str) -> Content {
    if body.is_empty() || body.chars().count() > MAX_COMMENT {
        return invalid("Body is too long (maximum is 65536 characters)");
    }
    let id = world.comment(number, login, body);
    let comment = world.comment_mut(id).cloned().unwrap();
    Content::Json(201, world.comment_json(number, &comment))
}

fn update_comment(world: &mut World, id: &str, body: &str) -> Content {
    let id = id.parse().unwrap_or_default();
    let Some(number) = world.number_of_comment(id) else { return not_found() };
    if body.is_empty() || body.chars().count() > MAX_COMMENT {
        return invalid("Body is too long (maximum is 65536 characters)");
    }
    world.edit_comment(id, body);
    let comment = world.comment_mut(id).cloned().unwrap();
    Content::Json(200, world.comment_json(number, &comment))
}

fn add_labels(world: &mut World, number: u64, call: &Call<'_>) -> Content {
    let labels: Vec<&str> =
        call.body["labels"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if labels.iter().any(|label| label.is_empty() || label.len() > 50) {
        return invalid("Label name is too long (maximum is 50 characters)");
    }
    for label in labels {
        world.add_label(number, call.login, label);
    }
    let labels: Vec<Value> =
        world.pull(number).labels.iter().map(|label| world.label_json(label)).collect();
    Content::Json(200, json!(labels))
}

fn set_status(world: &mut World, commit: &str, body: &Value) -> Content {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    if !world.pulls.values().any(|pull| pull.pushes.iter().any(|push| push.after == commit)) {
        return invalid(&format!("No commit found for SHA: {commit}"));
    }
    if text("description").chars().count() > MAX_DESCRIPTION {
        return invalid("description is too long (maximum is 140 characters)");
    }
    let status = Status {
        context: text("context"),
        state: text("state"),
        description: text("description"),
        target_url: body["target_url"].as_str().map(str::to_owned),
    };
    world.statuses.entry(commit.to_owned()).or_default().push(status);
    Content::Json(201, body.clone())
}

fn create_pull(world: &mut World, call: &Call<'_>) -> Content {
    let text = |name: &str| call.body[name].as_str().unwrap_or_default();
    let (branch, base) = (text("head"), text("base"));
    let branch = branch.rsplit(':').next().unwrap_or_default().to_owned();
    let is_open = |pull: &super::Pull| pull.branch == branch && pull.state == "open";
    if branch.is_empty() || base.is_empty() || world.pulls.values().any(is_open) {
        return invalid(&format!("A pull request already exists for caicloud:{branch}."));
    }
    let head = match &world.git {
        Some(git) => super::git::run(git, &["rev-parse", &format!("refs/heads/{branch}")]),
        None => super::world::commit_name(1),
    };
    let number = world.open_pull(call.login, text("body"), &head);
    let pull = world.pull_mut(number);
    (pull.branch, pull.base) = (branch, base.to_owned());
    text("title").clone_into(&mut pull.title);
    pull.is_draft = call.body["draft"] == true;
    Content::Json(201, world.pull_json(number))
}
