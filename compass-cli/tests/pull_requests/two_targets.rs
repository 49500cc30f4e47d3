//! Two plugins in one pull request.

use std::os::unix::fs::MetadataExt as _;

use crate::forge_server::OWN_LOGIN;
use crate::world::{Ran, World};

fn run(world: &World) -> Ran {
    world.compass(&["queue", "--run"])
}

/// The file name of the package of a plugin in the store, and its URL.
fn package(world: &World, name: &str) -> (std::path::PathBuf, String) {
    let path = format!("store/plugins/{name}/compass-plugins-{name}-v0.2.0.tar.gz");
    let path = world.path(&path);
    let url = format!("file://{}", path.display());
    (path, url)
}

/// Asserts that one comment has the URLs of both packages.
fn require_packages(world: &World, number: u64) {
    let own = world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN));
    assert_eq!(own.len(), 3, "{own:#?}");
    let [log, net] = ["log", "net"].map(|name| package(world, name).1);
    assert_eq!(
        own[2],
        format!("packages uploaded to\n{log}\n{net}\n\n/queue done-package-uploaded\n")
    );
    assert!(own[0].contains("`plugin log`") && own[0].contains("`plugin net`"), "{}", own[0]);
    assert!(!own[0].contains("The last run failed"), "{}", own[0]);
}

#[test]
fn queue_run_publishes_both_targets() {
    let world = World::new();
    let number = world.open_two_plugins();
    world.apply(number);
    let ran = run(&world);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.error);
    assert_eq!(world.labels(number), ["kind/release", "queue/done-package-uploaded"]);
    require_packages(&world, number);
}

#[test]
fn queue_run_failed_target_is_continued() {
    let world = World::new();
    let number = world.open_two_plugins();
    world.apply(number);
    let own = || world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN));
    // Another image has the tag of the second plugin.
    world.sync_other_image("net", "v0.2.0");
    let ran = run(&world);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.error);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-sync-image"]);
    assert_eq!(own().len(), 1);
    let comment = own().remove(0);
    assert!(comment.contains("The last run failed"), "{comment}");
    assert!(comment.contains("compass-plugins-net:v0.2.0"), "{comment}");
    // Another file has the place of its package.
    world.sync_image("net", "v0.2.0");
    let ((log, _), (net, _)) = (package(&world, "log"), package(&world, "net"));
    world.write("store/plugins/net/compass-plugins-net-v0.2.0.tar.gz", "not a package");
    let ran = run(&world);
    assert_ne!(ran.code, 0, "{}{}", ran.out, ran.error);
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-package"]);
    assert_eq!(own().len(), 2, "{:#?}", own());
    assert!(own()[0].contains("cannot publish plugin net"), "{}", own()[0]);
    let published = std::fs::metadata(&log).unwrap().ino();
    std::fs::remove_file(&net).unwrap();
    let ran = run(&world);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.error);
    assert_eq!(world.labels(number), ["kind/release", "queue/done-package-uploaded"]);
    require_packages(&world, number);
    assert_eq!(std::fs::metadata(&log).unwrap().ino(), published);
}
