//! `compass review --number`, and what `--apply` writes.

use serde_json::json;

use crate::forge_server::{Fault, OWN_LOGIN};
use crate::world::{BODY, World};

#[test]
fn review_number_finds_targets_and_facts() {
    let world = World::new();
    let number = world.open_release("gpu", "v0.2.0");
    let value = world.review(number, &[]);
    assert_eq!(value["state"], "need-queue", "{value:#}");
    let target = &value["targets"][0];
    assert_eq!((&target["kind"], &target["name"]), (&json!("plugin"), &json!("gpu")));
    assert_eq!(target["version"], "v0.2.0");
    assert_eq!(target["images"][0]["inSource"]["result"], "no", "{value:#}");
    assert_eq!(value["next"][0]["people"], json!(["alice"]));
    assert_eq!(value["add_labels"], json!(["kind/release", "queue/need-queue"]));
    world.push_image("gpu", "v0.2.0");
    let value = world.review(number, &[]);
    assert_eq!(value["targets"][0]["images"][0]["inSource"]["result"], "yes", "{value:#}");
    assert_eq!(world.forge.act(|forge| forge.writes()), Vec::<String>::new());
}

#[test]
fn review_apply_moves_through_queue() {
    let world = World::new();
    let number = world.open_release("gpu", "v0.2.0");
    let first = world.apply(number);
    let expected = [
        "created the comment",
        "added the label kind/release",
        "added the label queue/need-queue",
        "set the commit status",
    ];
    assert_eq!(first, expected);
    assert_eq!(world.apply(number), Vec::<String>::new());
    world.push_image("gpu", "v0.2.0");
    let pushed = world.pushed("gpu", "v0.2.0");
    world.forge.act(|forge| forge.comment(number, "alice", &pushed));
    let second = world.apply(number);
    let expected = [
        "updated the comment",
        "added the label queue/patches-need-sync-image",
        "removed the label queue/need-queue",
        "set the commit status",
    ];
    assert_eq!(second, expected);
    assert_eq!(world.apply(number), Vec::<String>::new());
    world.sync_image("gpu", "v0.2.0");
    world.forge.act(|forge| forge.comment(number, "paula", "/queue patches-need-package"));
    world.apply(number);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-package"]);
    let store = format!("file://{}", world.path("store").display());
    world.git("clone", &["fetch", "--quiet", "origin", "change-gpu"]);
    world.git("clone", &["checkout", "--quiet", "FETCH_HEAD"]);
    let ran = world.compass(&["package", "plugin", "gpu", "-o", &store]);
    assert_eq!(ran.code, 0, "{}", ran.error);
    world.forge.act(|forge| forge.comment(number, "ines", "/queue done-package-uploaded"));
    world.apply(number);
    assert_eq!(world.labels(number), ["kind/release", "queue/done-package-uploaded"]);
    let status = world.forge.act(|forge| forge.status(number, "compass/release-queue")).unwrap();
    assert_eq!(status.state, "success", "{status:?}");
    assert_eq!(world.apply(number), Vec::<String>::new());
    let comments = world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN));
    assert_eq!(comments.len(), 1, "{comments:?}");
}

/// Brings a release to `patches-need-sync-image`; returns its number and the comment of the author.
fn at_sync(world: &World) -> (u64, u64) {
    let number = world.open_release("gpu", "v0.2.0");
    world.push_image("gpu", "v0.2.0");
    let pushed = world.pushed("gpu", "v0.2.0");
    let comment = world.forge.act(|forge| forge.comment(number, "alice", &pushed));
    world.apply(number);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-sync-image"]);
    (number, comment)
}

#[test]
fn review_deleted_command_keeps_step() {
    let world = World::new();
    let (number, comment) = at_sync(&world);
    world.forge.act(|forge| forge.delete_comment(comment));
    world.apply(number);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-sync-image"]);
    assert_eq!(world.apply(number), Vec::<String>::new());
}

#[test]
fn review_lost_record_is_recovered_from_labels() {
    let world = World::new();
    let (number, comment) = at_sync(&world);
    world.forge.act(|forge| {
        let own = forge.pull(number).comments.iter().find(|one| one.author == OWN_LOGIN);
        let own = own.unwrap().id;
        forge.delete_comment(own);
        forge.delete_comment(comment);
    });
    assert_eq!(world.apply(number), ["created the comment"]);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-sync-image"]);
}

#[test]
fn review_edited_command_does_not_count() {
    let world = World::new();
    let number = world.open_release("gpu", "v0.2.0");
    world.push_image("gpu", "v0.2.0");
    let pushed = world.pushed("gpu", "v0.2.0");
    let comment = world.forge.act(|forge| forge.comment(number, "alice", "soon"));
    world.forge.act(|forge| forge.edit_comment(comment, &pushed));
    let value = world.review(number, &["--apply"]);
    assert_eq!(value["state"], "need-queue");
    assert!(value["comment"].as_str().unwrap().contains("was edited"), "{value:#}");
    world.forge.act(|forge| forge.comment(number, "alice", &pushed));
    assert_eq!(world.review(number, &["--apply"])["state"], "patches-need-sync-image");
}

#[test]
fn review_bot_and_quoted_commands_are_ignored() {
    let world = World::new();
    let number = world.open_release("gpu", "v0.2.0");
    world.push_image("gpu", "v0.2.0");
    let pushed = world.pushed("gpu", "v0.2.0");
    let quoted: String = pushed.lines().map(|line| format!("> {line}\n")).collect();
    world.forge.act(|forge| {
        forge.comment(number, "alice", &quoted);
        forge.comment(number, "prow[bot]", &pushed);
        forge.comment(number, "mallory", &pushed);
    });
    let value = world.review(number, &["--apply"]);
    assert_eq!(value["state"], "need-queue", "{value:#}");
    // The request of an account without a role is refused, and the others are no requests.
    assert_eq!(value["transitions"].as_array().unwrap().len(), 2, "{value:#}");
    let status = world.forge.act(|forge| forge.status(number, "compass/release-queue")).unwrap();
    assert_eq!(status.state, "failure");
}

#[test]
fn review_push_takes_back_steps() {
    let world = World::new();
    let (number, _) = at_sync(&world);
    // The same release files on another commit keep the steps.
    let head = world.commit("change-gpu", "Change nothing");
    world.forge.act(|forge| forge.push(number, &head, false));
    world.apply(number);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-sync-image"]);
    // Another port is another release.
    world.write("author/release-plugins/gpu.yaml", &world.plugin("gpu", "v0.2.0", 9999));
    let head = world.commit("change-gpu", "Change the port");
    world.forge.act(|forge| forge.push(number, &head, false));
    let value = world.review(number, &["--apply"]);
    assert_eq!(value["state"], "need-queue", "{value:#}");
    assert!(value["comment"].as_str().unwrap().contains("outdated"), "{value:#}");
    assert_eq!(world.labels(number), ["kind/release", "queue/need-queue"]);
    let pushed = world.pushed("gpu", "v0.2.0");
    world.forge.act(|forge| forge.comment(number, "alice", &pushed));
    world.apply(number);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-sync-image"]);
}

#[test]
fn review_pushes_unknown_takes_back_steps() {
    let world = World::new();
    world.forge.act(|forge| forge.shows_activity = false);
    let number = world.open_release("gpu", "v0.2.0");
    world.push_image("gpu", "v0.2.0");
    let pushed = world.pushed("gpu", "v0.2.0");
    // The clock of the forge has to be after the time of the commit.
    world.forge.act(|forge| forge.clock += 1_000_000_000);
    world.forge.act(|forge| forge.comment(number, "alice", &pushed));
    world.apply(number);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-sync-image"]);
    // The author gives the commit an old time.
    world.write("author/release-plugins/gpu.yaml", &world.plugin("gpu", "v0.2.0", 9999));
    let head = world.commit("change-gpu", "Change the port");
    world.forge.act(|forge| forge.push(number, &head, true));
    world.apply(number);
    assert_eq!(world.labels(number), ["kind/release", "queue/need-queue"]);
    assert_eq!(world.apply(number), Vec::<String>::new());
}

#[test]
fn review_policy_of_pull_request_is_not_used() {
    let world = World::new();
    let base = std::fs::read_to_string(world.path("author/.compass.yaml")).unwrap();
    world.write("author/.compass.yaml", &base.replace("'@paula', ", "'@mallory', '@paula', "));
    let number = world.open_release("gpu", "v0.2.0");
    world.push_image("gpu", "v0.2.0");
    world.sync_image("gpu", "v0.2.0");
    let pushed = world.pushed("gpu", "v0.2.0");
    world.forge.act(|forge| {
        forge.comment(number, "alice", &pushed);
        forge.comment(number, "mallory", "/queue patches-need-package");
    });
    let value = world.review(number, &[]);
    let last = value["transitions"].as_array().unwrap().last().unwrap();
    assert_eq!(last["outcome"]["result"], "refused", "{value:#}");
}

#[test]
fn review_closed_pull_request_writes_nothing() {
    let world = World::new();
    let number = world.open_release("gpu", "v0.2.0");
    world.forge.act(|forge| forge.close(number, true));
    let ran = world.compass(&["review", "--number", &number.to_string(), "--apply"]);
    assert_eq!(ran.code, 0, "{}", ran.error);
    assert!(ran.error.contains("is not open"), "{}", ran.error);
    assert_eq!(world.forge.act(|forge| forge.writes()), Vec::<String>::new());
}

#[test]
fn review_second_own_comment_is_deleted() {
    let world = World::new();
    let number = world.open_release("gpu", "v0.2.0");
    world.apply(number);
    let own = world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN)).remove(0);
    // Another process has created the comment at the same time.
    world.forge.act(|forge| forge.comment(number, OWN_LOGIN, &own));
    assert_eq!(world.apply(number), ["deleted a second comment"]);
    assert_eq!(world.apply(number), Vec::<String>::new());
    assert_eq!(world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN)), [own]);
}

#[test]
fn review_shared_head_has_one_status() {
    let world = World::new();
    let first = world.open_release("gpu", "v0.2.0");
    let head = world.forge.act(|forge| forge.pull(first).head.clone());
    let second = world.forge.act(|forge| forge.open_pull("alice", BODY, &head));
    assert!(world.apply(first).contains(&"set the commit status".to_owned()));
    assert!(!world.apply(second).contains(&"set the commit status".to_owned()));
    for number in [first, second] {
        assert_eq!(world.apply(number), Vec::<String>::new());
    }
    world.forge.act(|forge| forge.close(first, false));
    assert_eq!(world.apply(second), ["set the commit status"]);
}

#[test]
fn review_later_list_keeps_step() {
    let world = World::new();
    let number = world.open_release("gpu", "v0.2.0");
    world.push_image("gpu", "v0.2.0");
    let (pushed, other) = (world.pushed("gpu", "v0.2.0"), world.source_image("other", "v0.2.0"));
    let other = format!("image(s) pushed to\n{other}\n");
    world.forge.act(|forge| {
        forge.comment(number, "alice", &pushed);
        forge.comment(number, "alice", &other);
    });
    // The result is the same as if the command was looked at before the second list was given.
    assert_eq!(world.review(number, &["--apply"])["state"], "patches-need-sync-image");
}

#[test]
fn review_lost_record_keeps_earlier_steps() {
    let world = World::new();
    let (number, _) = at_sync(&world);
    world.forge.act(|forge| {
        // The guards of the first step do not hold any more, and its label was never added.
        forge.edit_body(number, "/queue need-queue");
        let pull = forge.pulls.get_mut(&number).unwrap();
        pull.events.retain(|event| event.label != "queue/need-queue");
    });
    let own = |forge: &crate::forge_server::World| {
        let comments = forge.pull(number).comments.iter();
        comments.filter(|one| one.author == OWN_LOGIN).map(|one| one.id).next().unwrap()
    };
    world.forge.act(|forge| {
        let id = own(forge);
        forge.delete_comment(id);
    });
    assert_eq!(world.review(number, &["--apply"])["state"], "patches-need-sync-image");
}

#[test]
fn review_limit_during_apply_continues_later() {
    let world = World::new();
    let number = world.open_release("gpu", "v0.2.0");
    world.forge.act(|forge| forge.faults.plan("POST", "/labels", Fault::HourlyLimit(3000), 1));
    let ran = world.compass(&["review", "--number", &number.to_string(), "--apply"]);
    assert_eq!(ran.code, 3, "{}", ran.error);
    assert!(ran.error.contains("completed work is not repeated"), "{}", ran.error);
    let expected = [
        "added the label kind/release",
        "added the label queue/need-queue",
        "set the commit status",
    ];
    assert_eq!(world.apply(number), expected);
    assert_eq!(world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN)).len(), 1);
}

#[test]
fn review_long_conversation_is_read() {
    let world = World::new();
    let number = world.open_release("gpu", "v0.2.0");
    world.push_image("gpu", "v0.2.0");
    let pushed = world.pushed("gpu", "v0.2.0");
    let longest = "/queue patches-need-package\n".repeat(65_536 / 28);
    world.forge.act(|forge| {
        forge.comment(number, "mallory", &longest);
        for _ in 0..1_000 {
            forge.comment(number, "mallory", "image(s) pushed to\nhttps://x\n/queue done\n");
        }
        forge.comment(number, "alice", &pushed);
    });
    assert_eq!(world.review(number, &["--apply"])["state"], "patches-need-sync-image");
    let own = world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN)).remove(0);
    assert!(
        own.chars().count() < 65_536 && own.contains("earlier requests are not shown"),
        "{own}"
    );
    assert_eq!(world.apply(number), Vec::<String>::new());
}
