//! Deliveries of any form, and pull requests that are closed, reopened, or lose their accounts.

use serde_json::{Value, json};

use crate::forge_server::{Delivery, OWN_LOGIN, REPOSITORY};
use crate::server::{Bot, deliver, delivery, eventually};
use crate::world::World;

/// The answer to a delivery: which of the counters increases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// A look at one pull request.
    Look,
    /// A scan of all.
    Scan,
    Ignored,
}

#[test]
fn webhooks_of_any_form_are_answered() {
    let world = World::new();
    let number = world.open_release("gpu", "v0.2.0");
    world.apply(number);
    let bot = Bot::start(&world);
    eventually("scanned", || bot.metric("compass_bot_looks_total") == 1 && bot.is_idle());
    let before = world.forge.act(|forge| forge.writes());
    for (index, (event, payload, effect)) in unusual_webhooks(number).into_iter().enumerate() {
        let count = |effect: Effect| match effect {
            Effect::Look => bot.metric("compass_bot_looks_total"),
            Effect::Scan => bot.metric("compass_bot_scans_total"),
            Effect::Ignored => bot.metric("compass_bot_deliveries_total{result=\"ignored\"}"),
        };
        let known = count(effect);
        let one = Delivery { event, payload, ..delivery(1_000 + index as u64) };
        assert_eq!(deliver(&bot.host, &one), Some(202), "{one:?}");
        eventually(&format!("{effect:?}: {one:?}"), || count(effect) > known);
        eventually("idle", || bot.is_idle());
    }
    assert_eq!(bot.metric("compass_bot_looks_failed_total"), 0);
    assert_eq!(world.forge.act(|forge| forge.writes()), before);
    let (code, log) = bot.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

/// Webhooks of a pull request with missing, unknown and null fields, and what they cause.
fn unusual_webhooks(number: u64) -> Vec<(&'static str, Value, Effect)> {
    use Effect::{Ignored, Look, Scan};

    let here = json!({"full_name": REPOSITORY});
    let pull = |action: &str, more: Value| pull_payload(number, action, &more);
    let issue = |action: &str, issue: Value| json!({"action": action, "issue": issue, "comment": null, "repository": here});
    let mut cases = vec![
        ("pull_request", pull("edited", json!({"pull_request": null})), Scan),
        ("pull_request", pull("edited", json!({"pull_request": {"number": null}})), Scan),
        ("pull_request", pull("opened", json!({"repository": null})), Look),
        ("pull_request", pull("opened", json!({"repository": {"full_name": null}})), Scan),
        ("pull_request", json!({}), Scan),
        ("pull_request", json!([null]), Scan),
        (
            "pull_request",
            pull("opened", json!({"repository": {"full_name": "mallory/x"}})),
            Ignored,
        ),
        ("pull_request_review", pull("submitted", json!({"review": null})), Look),
        // A pull request that the forge does not have any more.
        ("pull_request", pull("closed", json!({"pull_request": {"number": 4711}})), Look),
        (
            "issue_comment",
            issue("created", json!({"number": number, "pull_request": {}, "user": null})),
            Look,
        ),
        (
            "issue_comment",
            issue("created", json!({"number": number, "pull_request": null})),
            Ignored,
        ),
        ("issue_comment", issue("deleted", json!(null)), Scan),
        ("issues", issue("transferred", json!({"number": number})), Ignored),
        ("issues", issue("converted", json!(null)), Ignored),
        ("push", json!({"ref": null, "repository": here, "head_commit": null}), Scan),
        ("push", json!({"ref": "refs/heads/gone", "deleted": true, "repository": here}), Scan),
        ("label", json!({"action": "deleted", "label": null, "repository": here}), Scan),
        ("discussion_poll", json!({"action": null}), Ignored),
    ];
    for action in
        ["teleported", "converted_to_draft", "ready_for_review", "closed", "reopened", "enqueued"]
    {
        cases.push(("pull_request", pull(action, json!({})), Look));
    }
    cases
}

/// A webhook of a pull request without people, with other values for the fields of `more`.
fn pull_payload(number: u64, action: &str, more: &Value) -> Value {
    let mut payload = json!({
        "action": action, "number": number, "repository": {"full_name": REPOSITORY},
        "pull_request": {"number": number, "user": null, "body": null, "labels": null,
                         "head": {"repo": null, "user": null}, "draft": true, "merged_by": null},
        "sender": null,
    });
    for (key, value) in more.as_object().unwrap() {
        payload[key] = value.clone();
    }
    payload
}

#[test]
fn bot_closed_release_waits_for_reopening() {
    let world = World::new();
    let bot = Bot::start(&world);
    world.forge.send_webhooks_to(&bot.webhook());
    let number = world.open_release("gpu", "v0.2.0");
    let labels = |label: &str| ["kind/release".to_owned(), format!("queue/{label}")];
    eventually("queued", || world.labels(number) == labels("need-queue"));
    world.push_image("gpu", "v0.2.0");
    world.sync_image("gpu", "v0.2.0");
    let pushed = world.pushed("gpu", "v0.2.0");
    // A draft without its fork, and a command of a deleted account.
    world.forge.act(|forge| {
        let pull = forge.pulls.get_mut(&number).unwrap();
        (pull.is_draft, pull.head_repository) = (true, None);
        forge.clock += 1_000_000_000;
        forge.comment(number, "ghost", &pushed);
    });
    let own = || world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN));
    eventually("refused", || own()[0].contains("refused"));
    assert_eq!(world.labels(number), labels("need-queue"));
    world.forge.act(|forge| forge.comment(number, "alice", &pushed));
    eventually("listed", || world.labels(number) == labels("patches-need-sync-image"));
    // Nothing is written while it is closed.
    world.forge.act(|forge| forge.close(number, false));
    eventually("closed", || bot.metric("compass_bot_open_releases") == 0 && bot.is_idle());
    let before = world.forge.act(|forge| forge.writes());
    let looks = bot.metric("compass_bot_looks_total");
    world.forge.act(|forge| forge.comment(number, "paula", "/queue patches-need-package"));
    eventually("looked at", || bot.metric("compass_bot_looks_total") > looks && bot.is_idle());
    assert_eq!(world.forge.act(|forge| forge.writes()), before);
    // The command that was given to the closed pull request counts.
    world.forge.act(|forge| forge.reopen(number));
    eventually("continued", || world.labels(number) == labels("patches-need-package"));
    eventually("idle", || bot.is_idle());
    world.forge.act(|forge| forge.close(number, true));
    eventually("merged", || bot.metric("compass_bot_open_releases") == 0 && bot.is_idle());
    assert_eq!(bot.metric("compass_bot_looks_failed_total"), 0);
    assert_eq!(own().len(), 1, "{:#?}", own());
    let (code, log) = bot.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn bot_comment_after_full_page_counts() {
    let world = World::new();
    let bot = Bot::start(&world);
    world.forge.send_webhooks_to(&bot.webhook());
    let number = world.open_release("gpu", "v0.2.0");
    let labels = |label: &str| ["kind/release".to_owned(), format!("queue/{label}")];
    let comments = || world.forge.act(|forge| forge.pull(number).comments.len());
    eventually("queued", || world.labels(number) == labels("need-queue") && comments() == 1);
    let looks = bot.metric("compass_bot_looks_total");
    world.forge.act(|forge| {
        for _ in 1..forge.page_size {
            forge.comment(number, "bob", "a remark");
        }
    });
    eventually("looked at", || bot.metric("compass_bot_looks_total") > looks && bot.is_idle());
    assert_eq!(comments(), world.forge.act(|forge| forge.page_size));
    world.push_image("gpu", "v0.2.0");
    let pushed = world.pushed("gpu", "v0.2.0");
    world.forge.act(|forge| forge.comment(number, "alice", &pushed));
    eventually("listed", || world.labels(number) == labels("patches-need-sync-image"));
    let (code, log) = bot.stop();
    assert_eq!(code, Some(0), "{log}");
}
