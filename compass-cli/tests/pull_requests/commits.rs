//! From where `compass review --number` reads the commits: `origin`, or the interface of the forge.

use crate::world::{BODY, World};

#[test]
fn review_fork_is_read_from_origin() {
    let world = World::new();
    let head = world.change("change-gpu", "gpu", "v0.2.0");
    let number = world.forge.act(|forge| {
        let number = forge.open_pull("alice", BODY, &head);
        forge.pulls.get_mut(&number).unwrap().head_repository = Some("alice/fork".to_owned());
        number
    });
    // The branch exists only in the fork.
    world.git("author", &["push", "--quiet", "origin", "--delete", "change-gpu"]);
    assert_eq!(world.review(number, &[])["state"], "need-queue");
    // The fork was deleted.
    world.forge.act(|forge| forge.pulls.get_mut(&number).unwrap().head_repository = None);
    assert_eq!(world.review(number, &[])["targets"][0]["name"], "gpu");
}

#[test]
fn review_without_origin_reads_forge() {
    let world = World::new();
    let number = world.open_release("gpu", "v0.2.0");
    world.push_image("gpu", "v0.2.0");
    let pushed = world.pushed("gpu", "v0.2.0");
    world.forge.act(|forge| forge.comment(number, "alice", &pushed));
    // The clone has neither the head nor the present commit of the base branch.
    world.git("author", &["checkout", "--quiet", "--force", "main"]);
    world.write("author/release-plugins/OWNERS", "approvers: [\"alice\"]\n");
    let base = world.commit("main", "Add owners");
    world.forge.act(|forge| forge.base_commit = base);
    let expected = world.review(number, &[]);
    world.git("clone", &["remote", "remove", "origin"]);
    let value = world.review(number, &[]);
    assert_eq!(value, expected, "{value:#}");
    assert_eq!(value["state"], "patches-need-sync-image");
    world.apply(number);
    let ran = world.compass(&["queue", "--run"]);
    assert_eq!(ran.code, 2, "{}", ran.error);
    assert!(ran.error.contains("git remote add origin"), "{}", ran.error);
    // The images were copied, but the package names the commit of its files.
    assert_eq!(world.labels(number), ["kind/release", "queue/patches-need-package"]);
}

#[test]
fn review_shallow_clone_reads_forge() {
    let world = World::new();
    let number = world.open_release("gpu", "v0.2.0");
    let expected = world.review(number, &[]);
    let origin = format!("file://{}", world.path("origin.git").display());
    std::fs::remove_dir_all(world.path("clone")).unwrap();
    world.git(".", &["clone", "--quiet", "--depth", "1", &origin, "clone"]);
    world.git("clone", &["remote", "set-url", "origin", "/does-not-exist"]);
    assert_eq!(world.review(number, &[]), expected);
}

#[test]
fn review_truncated_tree_is_refused() {
    let world = World::new();
    let number = world.open_release("gpu", "v0.2.0");
    world.git("clone", &["remote", "remove", "origin"]);
    world.forge.act(|forge| forge.truncates_trees = true);
    let ran = world.compass(&["review", "--number", &number.to_string()]);
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.error);
    for text in ["no remote `origin`", "too many files for one answer", "git remote add"] {
        assert!(ran.error.contains(text), "{}", ran.error);
    }
}

#[test]
fn review_silent_origin_reads_forge() {
    let world = World::new();
    let number = world.open_release("gpu", "v0.2.0");
    // Accepts connections, and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}/origin.git", listener.local_addr().unwrap());
    world.git("clone", &["remote", "set-url", "origin", &url]);
    let review = |name: &str| {
        let mut command = world.command(&["review", "--number", name]);
        command.env("COMPASS_FETCH_TIMEOUT", "1").output().unwrap()
    };
    let output = review(&number.to_string());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("is at queue/need-queue"), "{text}");
    world.forge.act(|forge| forge.truncates_trees = true);
    let output = review(&number.to_string());
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("git did not finish within 1 seconds"), "{error}");
    assert!(error.contains("set COMPASS_FETCH_TIMEOUT to more seconds"), "{error}");
}
