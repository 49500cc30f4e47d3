//! Pull requests for different base branches: their policies, roles and owners.

use serde_json::Value;

use crate::forge_server::OWN_LOGIN;
use crate::queue::releases;
use crate::world::{BODY, World};

/// The maintenance branch.
const BRANCH: &str = "release/2.7";

/// Creates the maintenance branch, whose policy differs from that of `main` by these texts.
fn create_branch(world: &World, replaced: &[(&str, &str)]) {
    world.git("author", &["checkout", "--quiet", "--force", "main"]);
    let mut policy = std::fs::read_to_string(world.path("author/.compass.yaml")).unwrap();
    for (from, to) in replaced {
        assert!(policy.contains(from), "{from}: {policy}");
        policy = policy.replace(from, to);
    }
    world.write("author/.compass.yaml", &policy);
    world.commit(BRANCH, "Maintain 2.7");
}

/// Opens the release of a plugin for the maintenance branch; returns its number.
fn open_for_branch(world: &World, name: &str, body: &str) -> u64 {
    world.git("author", &["checkout", "--quiet", "--force", BRANCH]);
    let manifest = world.plugin(name, "v0.1.1", 9001);
    world.write(&format!("author/release-plugins/{name}.yaml"), &manifest);
    let head = world.commit(&format!("fix-{name}"), "Fix");
    world.forge.act(|forge| {
        let number = forge.open_pull("alice", body, &head);
        BRANCH.clone_into(&mut forge.pulls.get_mut(&number).unwrap().base);
        number
    })
}

/// The result of the last request.
fn last_result(review: &Value) -> &Value {
    &review["transitions"].as_array().unwrap().last().unwrap()["outcome"]["result"]
}

#[test]
fn queue_maintenance_branch_has_own_policy() {
    let world = World::new();
    let own = [
        ("/caicloud'", "/maintenance'"),
        ("/store'", "/store-2.7'"),
        ("['@paula', '@release-robot']", "['@mona', '@release-robot']"),
        ("  roles:", "  kinds: [maintenance]\n  roles:"),
    ];
    create_branch(&world, &own);
    let of_main = releases(&world, &["log"])[0];
    let body = BODY.replace("/kind release", "/kind maintenance");
    let number = open_for_branch(&world, "gpu", &body);
    let image = "maintenance/compass-plugins-gpu:v0.1.1";
    world.push_to("maintenance", "compass-plugins-gpu:v0.1.1");
    let source = world.source.host();
    let pushed = format!("image(s) pushed to\n{source}/{image}\n/queue patches-need-sync-image\n");
    world.forge.act(|forge| forge.comment(number, "alice", &pushed));
    world.apply(number);
    assert_eq!(world.labels(number), ["kind/maintenance", "queue/patches-need-sync-image"]);
    world.forge.act(|forge| forge.comment(number, "paula", "/queue patches-need-package"));
    let review = world.review(number, &[]);
    assert_eq!(review["base"], BRANCH);
    assert_eq!(last_result(&review), "refused", "{review:#}");
    assert_eq!(review["next"][0]["people"], serde_json::json!(["mona", "release-robot"]));
    let ran = world.compass(&["queue", "--run", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.error);
    for (number, kind, store) in
        [(number, "maintenance", "store-2.7"), (of_main, "release", "store")]
    {
        let expected = [format!("kind/{kind}"), "queue/done-package-uploaded".to_owned()];
        assert_eq!(world.labels(number), expected, "{}", ran.out);
        let own = world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN)).remove(2);
        let url = format!("\nfile://{}/plugins/", world.path(store).display());
        assert!(own.contains(&url), "{own}");
    }
}

#[test]
fn queue_unreadable_base_stops_no_others() {
    let world = World::new();
    create_branch(&world, &[("version: 1", "version: 999")]);
    let good = releases(&world, &["log"])[0];
    let bad = open_for_branch(&world, "gpu", BODY);
    world.forge.act(|forge| {
        for label in ["kind/release", "queue/need-queue"] {
            forge.add_label(bad, "alice", label);
        }
    });
    let ran = world.compass(&["queue", "--run", "--format", "json"]);
    assert_ne!(ran.code, 0, "{}{}", ran.out, ran.error);
    let value: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value["failed"], 1, "{value:#}");
    let cause = &value["pulls"][1]["error"]["causes"][0];
    assert!(cause.to_string().contains("version is not supported"), "{value:#}");
    assert_eq!(world.labels(good), ["kind/release", "queue/done-package-uploaded"]);
    assert_eq!(world.forge.act(|forge| forge.comments_by(bad, OWN_LOGIN)), Vec::<String>::new());
}

#[test]
fn review_other_base_takes_back_steps() {
    let world = World::new();
    // For `main`, the commits of the maintenance branch belong to the change.
    world.change_policy("review:", "rules: {change-scope: off, policy-changed: off}\nreview:");
    create_branch(&world, &[("['@paula', '@release-robot']", "['@mona', '@release-robot']")]);
    let number = open_for_branch(&world, "gpu", BODY);
    world.push_image("gpu", "v0.1.1");
    world.sync_image("gpu", "v0.1.1");
    let pushed = world.pushed("gpu", "v0.1.1");
    world.forge.act(|forge| {
        forge.comment(number, "alice", &pushed);
        forge.comment(number, "mona", "/queue patches-need-package");
    });
    world.apply(number);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-package"]);
    // On `main`, the account has no role.
    let set_base = |base: &str, event| world.forge.act(|forge| forge.retarget(number, base, event));
    set_base("main", "automatic_base_change_succeeded");
    let review = world.review(number, &["--apply"]);
    assert_eq!(last_result(&review), "refused", "{review:#}");
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-sync-image"]);
    assert_eq!(world.apply(number), Vec::<String>::new());
    // Without the record, the label of the other base shows nothing.
    world.forge.act(|forge| {
        let comments = forge.pull(number).comments.iter();
        let own: Vec<u64> =
            comments.filter(|one| one.author == OWN_LOGIN).map(|one| one.id).collect();
        for id in own {
            forge.delete_comment(id);
        }
    });
    world.apply(number);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-sync-image"]);
    set_base(BRANCH, "base_ref_changed");
    world.apply(number);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-package"]);
}

#[test]
fn review_roles_count_when_looked_at() {
    const TEAM: &str = "['@paula', '@release-robot']";
    const LARGER: &str = "['@paula', '@mallory', '@release-robot']";
    let world = World::new();
    let number = releases(&world, &["log"])[0];
    world.sync_image("log", "v0.2.0");
    world.forge.act(|forge| forge.comment(number, "mallory", "/queue patches-need-package"));
    let review = world.review(number, &["--apply"]);
    assert_eq!(last_result(&review), "refused", "{review:#}");
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-sync-image"]);
    // The command counts as soon as its author has the role.
    world.change_policy(TEAM, LARGER);
    world.apply(number);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-package"]);
    // A granted step stays granted.
    world.change_policy(LARGER, "['@release-robot']");
    world.apply(number);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-package"]);
    assert_eq!(world.apply(number), Vec::<String>::new());
    // A command whose author lost the role before anything looked at it does not count.
    let other = releases(&world, &["net"])[0];
    world.sync_image("net", "v0.2.0");
    world.forge.act(|forge| forge.comment(other, "paula", "/queue patches-need-package"));
    let review = world.review(other, &["--apply"]);
    assert_eq!(last_result(&review), "refused", "{review:#}");
    assert_eq!(world.labels(other), ["kind/release", "queue/patches-need-sync-image"]);
}

/// Commits owners of the plugin `gpu` to `main`, by an alias.
fn set_owners(world: &World, members: &str) {
    world.git("author", &["checkout", "--quiet", "--force", "main"]);
    world.write("author/OWNERS", "approvers: [root]\n");
    let owners = "filters:\n  '^gpu': {approvers: [GPU-Owners]}\n";
    world.write("author/release-plugins/OWNERS", owners);
    world.write("author/OWNERS_ALIASES", &format!("aliases: {{gpu-owners: {members}}}\n"));
    world.commit("main", "Set the owners");
}

#[test]
fn review_owners_of_base_have_role() {
    let world = World::new();
    world.change_policy("review:", "rules: {change-scope: off}\nreview:");
    set_owners(&world, "[carol, Dave]");
    // The pull request cannot give the role.
    world.write("author/OWNERS_ALIASES", "aliases: {gpu-owners: [mallory]}\n");
    world.write("author/release-plugins/gpu.yaml", &world.plugin("gpu", "v0.2.0", 9001));
    let head = world.commit("change-gpu", "Release gpu v0.2.0");
    let body = BODY.replace("@ines", "@ines @dave");
    let number = world.forge.act(|forge| forge.open_pull("alice", &body, &head));
    world.push_image("gpu", "v0.2.0");
    let pushed = world.pushed("gpu", "v0.2.0");
    world.forge.act(|forge| {
        forge.comment(number, "mallory", &pushed);
        forge.comment(number, "root", &pushed);
    });
    let review = world.review(number, &["--apply"]);
    assert_eq!(last_result(&review), "refused", "{review:#}");
    assert_eq!(world.labels(number), ["kind/release", "queue/need-queue"]);
    let people = review["next"][0]["people"].as_array().unwrap();
    assert!(people.contains(&"carol".into()) && people.contains(&"Dave".into()), "{people:?}");
    world.forge.act(|forge| forge.comment(number, "dave", &pushed));
    world.apply(number);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-sync-image"]);
    // The owners changed, and the step stays granted.
    set_owners(&world, "[erin]");
    world.apply(number);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-sync-image"]);
    // A file that cannot be read is named, and nothing is written.
    set_owners(&world, "['not an account']");
    let before = world.forge.act(|forge| forge.writes().len());
    let ran = world.compass(&["review", "--number", &number.to_string(), "--apply"]);
    assert_ne!(ran.code, 0, "{}", ran.out);
    assert!(ran.error.contains("OWNERS_ALIASES:1"), "{}", ran.error);
    assert_eq!(world.forge.act(|forge| forge.writes().len()), before);
}
