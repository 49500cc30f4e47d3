//! Validates the answers and webhooks of the forge of the tests by GitHub's published schemas.
//!
//! `COMPASS_FORGE_SCHEMAS` names `generated/api.github.com.json` of the npm package
//! `@octokit/openapi-webhooks`. Without it, the tests are skipped, unless `COMPASS_INTEROP=required` is
//! set, as in CI.
#![allow(clippy::unwrap_used)]

use compass_registry::http::HttpOptions;
use jsonschema::Validator;
use serde_json::{Value, json};

#[allow(clippy::redundant_closure_for_method_calls, clippy::implicit_clone, clippy::unused_self)]
mod forge_server;
mod machine;

use forge_server::{ForgeServer, REPOSITORY, TOKEN};

/// The schemas, as an `OpenAPI` document.
struct Schemas(Value);

impl Schemas {
    fn open() -> Option<Self> {
        let Ok(path) = std::env::var("COMPASS_FORGE_SCHEMAS") else {
            machine::skip("a file in COMPASS_FORGE_SCHEMAS");
            return None;
        };
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        Some(Self(serde_json::from_str(&text).unwrap()))
    }

    /// The schema at a path below `#/components/schemas`; `None` if it is not published.
    fn validator(&self, name: &str) -> Option<Validator> {
        let components = &self.0["components"];
        components.pointer(&format!("/schemas/{name}"))?;
        let schema = json!({
            "$ref": format!("#/components/schemas/{name}"),
            "components": components,
        });
        Some(jsonschema::draft202012::new(&schema).unwrap())
    }

    /// The places where a value differs from its schema.
    fn differences(&self, name: &str, value: &Value) -> Vec<String> {
        let validator = self.validator(name).unwrap_or_else(|| panic!("no schema {name}"));
        let errors = validator.iter_errors(value);
        let text = |error: jsonschema::ValidationError<'_>| {
            format!("{name} at {}: {}", error.instance_path(), error.masked())
        };
        errors.map(text).collect()
    }
}

/// The schema does not know that the repository of a head can be deleted; the forge sends `null` then.
const DELETED_FORK: &str =
    "webhook-pull-request-closed at /pull_request/head/repo: value is not of type \"object\"";

/// A forge on which everything happened once.
fn forge() -> (ForgeServer, u64) {
    let server = ForgeServer::start();
    let number = server.act(|forge| {
        let number = forge.open_pull("alice", "body", &"1".repeat(40));
        forge.pulls.get_mut(&number).unwrap().head_repository = Some("alice/fork".to_owned());
        let comment = forge.comment(number, "bob", "text");
        forge.edit_comment(comment, "other text");
        let deleted = forge.comment(number, "prow[bot]", "text");
        forge.delete_comment(deleted);
        let review = forge.review(number, "bob", "fine", "approved");
        forge.dismiss_review(number, review);
        forge.add_label(number, "bob", "queue/need-queue");
        forge.add_label(number, "bob", "size/XS \u{1f41b}");
        forge.remove_label(number, "bob", "queue/need-queue");
        forge.edit_body(number, "other body");
        forge.push(number, &"2".repeat(40), true);
        forge.close(number, false);
        forge.reopen(number);
        number
    });
    (server, number)
}

#[test]
fn webhooks_match_published_schemas() {
    let Some(schemas) = Schemas::open() else { return };
    let (server, number) = forge();
    // The repository of the head is deleted.
    server.act(|forge| {
        forge.pulls.get_mut(&number).unwrap().head_repository = None;
        forge.close(number, true);
    });
    let deliveries = server.act(|forge| forge.deliveries.clone());
    let mut found = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for delivery in deliveries {
        let action = delivery.payload["action"].as_str().unwrap();
        let name = format!("webhook-{}-{action}", delivery.event).replace('_', "-");
        found.extend(schemas.differences(&name, &delivery.payload));
        found.retain(|difference| *difference != DELETED_FORK);
        seen.insert(name);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(seen.len(), 12, "{seen:?}");
}

#[test]
fn answers_match_published_schemas() {
    let Some(schemas) = Schemas::open() else { return };
    let (server, number) = forge();
    let comment = "webhook-issue-comment-created/properties/comment";
    let mut found = Vec::new();
    for (path, name) in [
        ("/user".to_owned(), "simple-user"),
        ("/users/github-actions[bot]".to_owned(), "simple-user"),
        ("/app".to_owned(), "integration"),
        (format!("/repos/{REPOSITORY}"), "full-repository"),
        (format!("/repos/{REPOSITORY}/installation"), "installation"),
        (format!("/repos/{REPOSITORY}/pulls/{number}"), "pull-request"),
        (format!("/repos/{REPOSITORY}/pulls"), "pull-request"),
        (format!("/repos/{REPOSITORY}/pulls/{number}/reviews"), "webhooks_review"),
        (format!("/repos/{REPOSITORY}/issues/{number}/comments"), comment),
        (format!("/repos/{REPOSITORY}/issues/{number}/labels"), "label"),
    ] {
        let values = match get(&server, &path) {
            Value::Array(values) => values,
            value => vec![value],
        };
        assert!(!values.is_empty(), "{path}");
        for mut value in values {
            if name == "webhooks_review" {
                // Answers have the state in upper case.
                value["state"] = value["state"].as_str().unwrap().to_lowercase().into();
            }
            found.extend(schemas.differences(name, &value));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Reads an answer.
fn get(server: &ForgeServer, path: &str) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let token = if path == "/app" { "an.app.statement" } else { TOKEN };
    runtime.block_on(async {
        let client = HttpOptions::default().build().unwrap();
        let request = client.get(format!("{}{path}", server.url)).bearer_auth(token);
        let bytes = request.send().await.unwrap().bytes().await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    })
}
