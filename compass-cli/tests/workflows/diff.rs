//! The scripts of `diff.yml`, with a pull request that tries to change their decisions.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use compass_registry::testing::SampleImage;

use crate::world::World;
use crate::{COMPASS, parse, root, steps, text};

/// A `gh` that lists the comment of an earlier run, if it exists, and keeps written comments.
const GH: &str = r#"#!/bin/sh
case "$*" in
  "api --paginate repos/owner/name/issues/1/comments --jq "*) cat "$RUNNER_TEMP/own" ;;
  "api --silent --method "*)
    echo "$4 $5" > "$RUNNER_TEMP/request"
    cp "${7#body=@}" "$RUNNER_TEMP/commented.md" ;;
  "auth setup-git") ;;
  *) exit 1 ;;
esac
"#;

/// Creates a store with `gpu` v1.0.0, and a forge whose pull request 1 releases v1.1.0.
fn world() -> World {
    let world = World::new();
    let image = SampleImage::with_layers(vec![vec![7; 10_000]]);
    world.push("gpu", &image);
    world.add_plugin("gpu");
    let policy = fs::read_to_string(world.path("repo/.compass.yaml")).unwrap();
    let store = format!("file://{}", world.path("store").display());
    world.write("repo/.compass.yaml", &format!("{policy}store: '{store}'\n"));
    git(&world, "repo", &["init", "--quiet", "--initial-branch=main"]);
    commit(&world);
    let published = world.package("gpu", &["-o", &store]);
    assert_eq!(published.code, 0, "{}", published.error);
    git(&world, ".", &["clone", "--quiet", "--bare", "repo", "origin.git"]);
    git(&world, ".", &["clone", "--quiet", "origin.git", "checkout"]);

    // The pull request also changes the policy, and adds a program and a link out of the repository.
    let manifest = fs::read_to_string(world.path("repo/release-plugins/gpu.yaml")).unwrap();
    world.write("repo/release-plugins/gpu.yaml", &manifest.replace("v1.0.0", "v1.1.0"));
    world.write("repo/.compass.yaml", "version: 1\nstore: file:///evil\n");
    world.write("repo/release-plugins/$(touch evil).yaml", "metadata: {name: a}\nspec: {}\n");
    world.write("repo/release-plugins/.gitattributes", "* filter=evil\n");
    symlink("/etc/passwd", world.path("repo/release-plugins/link.yaml")).unwrap();
    commit(&world);
    git(&world, "repo", &["push", "--quiet", "../origin.git", "HEAD:refs/pull/1/head"]);
    world
}

fn git(world: &World, directory: &str, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(arguments);
    command.current_dir(world.path(directory)).env("GIT_CONFIG_GLOBAL", "/dev/null");
    assert!(command.status().unwrap().success(), "{arguments:?}");
}

fn commit(world: &World) {
    git(world, "repo", &["add", "--all"]);
    git(world, "repo", &["commit", "--quiet", "--message=change"]);
}

/// Runs the scripts of the workflow as its runner does. `own` is the number of the comment of an
/// earlier run. Returns the request that writes the comment, and the comment.
fn run(world: &World, own: &str) -> (String, String) {
    let temporary = world.path("runner");
    fs::create_dir(&temporary).unwrap();
    fs::write(temporary.join("own"), own).unwrap();
    for (name, program) in [("gh", GH.to_owned()), ("compass", link_to(COMPASS))] {
        fs::write(temporary.join(name), program).unwrap();
        fs::set_permissions(temporary.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let auth = fs::read_to_string(world.path("auth.json")).unwrap();
    let workflow = parse(&root().join("examples/workflows/diff.yml"));
    for step in steps(&workflow) {
        let script = text(step, "run");
        let output = Command::new("bash")
            .args(["-e", "-c", script])
            .current_dir(world.path("checkout"))
            .env("PATH", format!("{}:{}", temporary.display(), std::env::var("PATH").unwrap()))
            .env("RUNNER_TEMP", &temporary)
            .env("NUMBER", "1")
            .env("GITHUB_REPOSITORY", "owner/name")
            .env("GH_TOKEN", "token")
            .env("SOURCE", format!("{}/release", world.registry.host()))
            .env("REGISTRY_AUTH", &auth)
            .env("REGISTRY_AUTH_FILE", temporary.join("auth.json"))
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{error}");
    }
    let read = |name: &str| fs::read_to_string(temporary.join(name)).unwrap();
    (read("request"), read("commented.md"))
}

fn link_to(program: &str) -> String {
    format!("#!/bin/sh\nexec '{program}' \"$@\"\n")
}

#[test]
fn diff_workflow_compares_by_policy_of_base() {
    let world = world();
    let (request, comment) = run(&world, "");
    assert_eq!(request, "POST repos/owner/name/issues/1/comments\n");
    assert!(comment.starts_with("<!-- compass diff -->\n"), "{comment}");
    assert!(comment.contains("### gpu v1.1.0\n\nCompared with `v1.0.0`"), "{comment}");
    assert!(comment.contains("| `gpu.yaml` | `spec.version` | `v1.0.0` | `v1.1.0` |"), "{comment}");
    // The manifest with a name that a shell would execute is named, and nothing was executed.
    assert!(comment.contains("The comparison of `touchevil` failed"), "{comment}");
    for directory in ["checkout", "runner", "runner/head"] {
        assert!(!Path::new(&world.path(directory)).join("evil").exists(), "{directory}");
    }
}

#[test]
fn diff_workflow_updates_its_own_comment() {
    let (request, _) = run(&world(), "7\n");
    assert_eq!(request, "PATCH repos/owner/name/issues/comments/7\n");
}
