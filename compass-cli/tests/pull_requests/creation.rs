//! `compass pr --create`.

use crate::forge_server::OWN_LOGIN;
use crate::world::World;

const CREATE: [&str; 6] = ["pr", "plugin", "gpu", "--base", "origin/main", "--create"];

/// Changes the plugin in the clone, and commits the change to a branch.
fn change(world: &World, branch: &str) {
    world.git("clone", &["checkout", "--quiet", "-b", branch]);
    world.write("clone/release-plugins/gpu.yaml", &world.plugin("gpu", "v0.2.0", 9001));
    world.write("clone/release-plugins/OWNERS", "approvers: [olga]\n");
    world.git("clone", &["add", "--all"]);
    world.git("clone", &["commit", "--quiet", "--message=Release gpu v0.2.0"]);
}

#[test]
fn pr_create_opens_accepted_pull_request() {
    let world = World::new();
    // The owners are those of the base branch.
    world.write("author/release-plugins/OWNERS", "approvers: [olga]\n");
    world.commit("main", "Name the owners");
    world.git("clone", &["pull", "--quiet"]);
    change(&world, "gpu-v0.2.0");
    world.git("clone", &["push", "--quiet", "origin", "gpu-v0.2.0"]);
    let ran = world.compass(&[&CREATE[..], &["--note", "Faster."]].concat());
    assert_eq!(ran.code, 0, "{}", ran.error);
    assert!(ran.out.starts_with("#1 http"), "{}", ran.out);
    assert!(ran.out.contains("image(s) pushed to\n"), "{}", ran.out);
    let (title, body, author) = world.forge.act(|forge| {
        let pull = forge.pull(1);
        (pull.title.clone(), pull.body.clone(), pull.author.clone())
    });
    assert_eq!((title.as_str(), author.as_str()), ("Release gpu v0.2.0", OWN_LOGIN));
    assert!(body.contains("Faster.") && body.contains("/cc @olga @paula @ines"), "{body}");
    let review = world.review(1, &[]);
    assert_eq!(review["state"], "need-queue", "{review:#}");
    let again = world.compass(&CREATE);
    assert_eq!(again.code, 3, "{}{}", again.out, again.error);
}

#[test]
fn pr_create_refuses_what_is_not_pushed() {
    let world = World::new();
    let refused = |more: &[&str], code: i32, expected: &str| {
        let ran = world.compass(&[&CREATE[..], more].concat());
        assert!(ran.code == code && ran.error.contains(expected), "{}: {}", ran.code, ran.error);
    };
    refused(&[], 2, "`main` is the branch that the pull request would be for");
    change(&world, "gpu-v0.2.0");
    refused(&[], 2, "push --set-upstream origin gpu-v0.2.0");
    world.git("clone", &["push", "--quiet", "origin", "gpu-v0.2.0"]);
    world.write("clone/release-plugins/gpu.yaml", &world.plugin("gpu", "v0.3.0", 9001));
    refused(&[], 2, "release-plugins/gpu.yaml has uncommitted changes");
    world.write(
        "clone/release-plugins/gpu.yaml",
        "metadata: {name: gpu}\nspec: {version: v0.3.0}\n",
    );
    refused(&[], 1, "release-plugins/gpu.yaml");
    world.git("clone", &["checkout", "--quiet", "--force", "--detach", "HEAD"]);
    refused(&[], 2, "`HEAD` is not on a branch");
    assert_eq!(world.forge.act(|forge| forge.pulls.len()), 0);
}
