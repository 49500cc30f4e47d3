//! `compass bot --work`: the work of the teams.

use crate::forge_server::OWN_LOGIN;
use crate::server::{Bot, eventually};
use crate::world::World;

/// Opens the release of a plugin whose images are pushed, and asks for the step after the review.
fn open_reviewed(world: &World, name: &str) -> u64 {
    let number = world.open_release(name, "v0.2.0");
    world.push_image(name, "v0.2.0");
    let pushed = world.pushed(name, "v0.2.0");
    world.forge.act(|forge| forge.comment(number, "alice", &pushed));
    number
}

fn is_at(world: &World, number: u64, label: &str) -> bool {
    world.labels(number) == ["kind/release".to_owned(), format!("queue/{label}")]
}

#[test]
fn bot_without_work_leaves_it() {
    let world = World::new();
    let number = open_reviewed(&world, "log");
    let bot = Bot::start(&world);
    eventually("reviewed", || is_at(&world, number, "patches-need-sync-image"));
    eventually("idle", || bot.is_idle());
    assert_eq!(bot.metric("compass_bot_steps_total"), 0);
    bot.stop();
    assert_eq!(world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN)).len(), 1);
    assert!(!world.path("store").exists());
}

#[test]
fn bot_work_releases_and_reports_failures() {
    let world = World::new();
    let good = open_reviewed(&world, "log");
    let bad = open_reviewed(&world, "net");
    // Another image has the tag already, which only a person may change.
    world.sync_other_image("net", "v0.2.0");
    let bot = Bot::start_with_arguments(&world, &["--work"], &[]);
    eventually("released", || is_at(&world, good, "done-package-uploaded"));
    eventually("failed", || bot.metric("compass_bot_steps_failed_total") > 0);
    assert!(is_at(&world, bad, "patches-need-sync-image"));
    eventually("counted", || bot.metric("compass_bot_steps_total") == 2);
    // The list of packages is read again after the work.
    eventually("listed", || bot.get("/packages/plugin", &[]).body.contains("v0.2.0"));
    let page = bot.get(&format!("/pull/{bad}"), &[]).body;
    assert!(page.contains("The last run failed"), "{page}");
    let comment = world.forge.act(|forge| forge.comments_by(bad, OWN_LOGIN)).remove(0);
    assert!(comment.contains("The last run failed"), "{comment}");
    // The next start does the rest, and repeats nothing.
    bot.kill();
    world.sync_image("net", "v0.2.0");
    let bot = Bot::start_with_arguments(&world, &["--work"], &[]);
    eventually("released", || is_at(&world, bad, "done-package-uploaded"));
    eventually("idle", || bot.is_idle());
    assert_eq!(bot.stop().0, Some(0));
    for number in [good, bad] {
        let comments = world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN));
        assert_eq!(comments.len(), 3, "{comments:#?}");
    }
}

#[test]
fn bot_work_of_other_teams_is_left() {
    let world = World::new();
    let number = open_reviewed(&world, "log");
    let policy = std::fs::read_to_string(world.path("author/.compass.yaml")).unwrap();
    world.git("author", &["checkout", "--quiet", "--force", "main"]);
    let policy = policy.replace("['@ines', '@release-robot']", "['@ines']");
    world.write("author/.compass.yaml", &policy);
    world.commit("main", "The robot copies images only");
    let bot = Bot::start_with_arguments(&world, &["--work"], &[]);
    eventually("copied", || is_at(&world, number, "patches-need-package"));
    eventually("idle", || bot.is_idle());
    assert_eq!(bot.metric("compass_bot_steps_failed_total"), 0);
    assert_eq!(bot.stop().0, Some(0));
    assert!(!world.path("store").exists());
}

#[test]
fn bot_work_publishes_both_targets() {
    let world = World::new();
    let number = world.open_two_plugins();
    // The package of the second one cannot be published.
    let broken = "store/plugins/net/compass-plugins-net-v0.2.0.tar.gz";
    world.write(broken, "not a package");
    let bot = Bot::start_with_arguments(&world, &["--work"], &[]);
    eventually("failed", || bot.metric("compass_bot_steps_failed_total") > 0);
    assert!(is_at(&world, number, "patches-need-package"));
    let own = || world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN));
    assert!(own()[0].contains("cannot publish plugin net"), "{}", own()[0]);
    bot.kill();
    std::fs::remove_file(world.path(broken)).unwrap();
    let bot = Bot::start_with_arguments(&world, &["--work"], &[]);
    eventually("released", || is_at(&world, number, "done-package-uploaded"));
    eventually("idle", || bot.is_idle());
    assert_eq!(bot.stop().0, Some(0));
    let own = own();
    assert_eq!(own.len(), 3, "{own:#?}");
    assert_eq!(own[2].matches("file://").count(), 2, "{}", own[2]);
}
