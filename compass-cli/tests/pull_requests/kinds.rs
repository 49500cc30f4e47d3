//! Releases of each kind, from the text of `compass pr` to the package in the store.

use std::process::Command;

use serde_json::Value;

use crate::forge_server::OWN_LOGIN;
use crate::world::World;

const HOTFIX: &str = "web-v2.7.0-20180605-p1";

/// A release of a hotfix or a product.
struct Release<'r> {
    target: [&'r str; 2],
    /// The files of the release, below the repository.
    files: &'r [(&'r str, &'r str)],
    /// The images, as `NAME:TAG`.
    images: &'r [&'r str],
    /// The path in the store.
    package: &'r str,
    /// The members of the package below its directory, without `bundle.json`.
    members: &'r [&'r str],
}

fn addon(version: &str, images: [&str; 2]) -> String {
    let [web, migrate] = images;
    format!(
        "_config:\n  _metadata: {{name: web, version: {version}}}\n  controllers:\n  - type: Deployment\n    \
         containers:\n    - name: web\n      image: '[[ registry_release ]]/{web}'\n    initContainers:\n    - \
         name: migrate\n      image: '[[ registry_release ]]/{migrate}'\n"
    )
}

/// Commits an addon and a product to the base branch.
fn create_product(world: &World) {
    let values = addon("v3.1.0", ["console-web:v3.1.0", "console-migrate:v3.1.0"]);
    world.write("author/addons/default/console/web/values.yaml", &values);
    world.write("author/images-lists/a.list", "release/console-web:v3.1.0\n");
    world.commit("main", "Add the console");
    world.git("clone", &["pull", "--quiet"]);
}

impl Release<'_> {
    /// Commits the files to a branch, and opens the pull request with the body that `compass pr` prints;
    /// returns its number, and the comment that `compass pr` prints.
    fn open(&self, world: &World) -> (u64, String) {
        world.git("clone", &["checkout", "--quiet", "-b", "release"]);
        for (path, text) in self.files {
            world.write(&format!("clone/{path}"), text);
        }
        world.git("clone", &["add", "--all"]);
        world.git("clone", &["commit", "--quiet", "--message=Release"]);
        world.git("clone", &["push", "--quiet", "origin", "release"]);
        let base = ["--base", "origin/main", "--format", "json"];
        let printed = world.compass(&[&["pr"], &self.target[..], &base].concat());
        let text: Value = serde_json::from_str(&printed.out).unwrap();
        let head = world.git("clone", &["rev-parse", "HEAD"]);
        world.git("clone", &["checkout", "--quiet", "main"]);
        let body = text["body"].as_str().unwrap();
        for line in ["**Release note**:", "/kind release", "/queue need-queue", "/cc @paula @ines"]
        {
            assert!(body.lines().any(|one| one == line), "{body}");
        }
        let number = world.forge.act(|forge| forge.open_pull("alice", body, &head));
        (number, text["comment"].as_str().unwrap().to_owned())
    }

    /// Takes the release through the queue, as the teams do.
    fn publish(&self, world: &World) {
        let (number, comment) = self.open(world);
        world.apply(number);
        self.require(world, number, "need-queue", "0 of");
        for image in self.images {
            world.push(image);
            let host = world.source.host();
            assert!(comment.contains(&format!("{host}/caicloud/{image}\n")), "{comment}");
        }
        world.forge.act(|forge| forge.comment(number, "alice", &comment));
        world.apply(number);
        let all = format!("{0} of {0} images | 0 of {0} images | – |", self.images.len());
        self.require(world, number, "patches-need-sync-image", &all);
        work(world, "patches-need-sync-image");
        let all = format!("{0} of {0} images | {0} of {0} images | not", self.images.len());
        self.require(world, number, "patches-need-package", &all);
        work(world, "patches-need-package");
        self.require(world, number, "done-package-uploaded", "images | published |");
        let url = format!("file://{}", world.path("store").join(self.package).display());
        let own = world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN));
        let expected = [
            "/queue patches-need-package\n".to_owned(),
            format!("packages uploaded to\n{url}\n\n/queue done-package-uploaded\n"),
        ];
        assert_eq!(own[1..], expected);
        let status = world.forge.act(|forge| forge.status(number, "compass/release-queue"));
        assert_eq!(status.unwrap().state, "success");
        assert_eq!(world.apply(number), Vec::<String>::new());
        self.require_package(world, &url);
    }

    /// Asserts the labels, and a text in the comment.
    fn require(&self, world: &World, number: u64, label: &str, text: &str) {
        assert_eq!(world.labels(number), ["kind/release", &format!("queue/{label}")]);
        let own = world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN)).remove(0);
        assert!(own.contains(&format!("**Release queue:** `queue/{label}`")), "{own}");
        assert!(own.contains(&format!("| `{}` |", self.target.join(" "))), "{own}");
        assert!(own.contains(text), "{text}: {own}");
    }

    fn require_package(&self, world: &World, url: &str) {
        let path = world.path("store").join(self.package);
        let directory = self.package.rsplit('/').next().unwrap().trim_end_matches(".tar.gz");
        let tar = |arguments: &[&str]| {
            let output = Command::new("tar").args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let package = path.to_str().unwrap();
        let listed = tar(&["-tzf", package]);
        let mut members: Vec<&str> = listed
            .lines()
            .filter_map(|line| line.strip_prefix(directory)?.strip_prefix('/'))
            .collect();
        members.retain(|member| !member.ends_with('/') && !member.starts_with("images/"));
        members.sort_unstable();
        let mut expected = [self.members, &["bundle.json"]].concat();
        expected.sort_unstable();
        assert_eq!(members, expected, "{listed}");
        let ran = world.compass(&["verify", url]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.error);
        // The first member is the release manifest, with the bytes of the repository.
        let manifest = format!("{directory}/{}", self.members[0]);
        assert_eq!(tar(&["-xzOf", package, &manifest]), self.files[0].1);
    }
}

fn work(world: &World, label: &str) {
    let ran = world.compass(&["queue", "--run", "--label", label]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.error);
}

#[test]
fn queue_publishes_hotfix() {
    publish_hotfix("release-hotfixes");
}

/// The written process names this directory in one place.
#[test]
fn queue_publishes_hotfix_below_plugins() {
    publish_hotfix("release-plugins");
}

fn publish_hotfix(directory: &str) {
    let world = World::new();
    create_product(&world);
    let version = "v2.7.0-20180605-p1";
    let images = [&format!("console-web:{version}")[..], &format!("console-migrate:{version}")];
    let values = addon(version, images);
    let path = format!("{directory}/v2.7.0/{HOTFIX}/default/console/web/values.yaml");
    let release = Release {
        target: ["hotfix", HOTFIX],
        files: &[(&path, &values)],
        images: &images,
        package: &format!("hotfixes/compass/v2.7.0/compass-hotfixes-{HOTFIX}.tar.gz"),
        members: &[
            "default/console/web/values.yaml",
            &format!("web-console-web-{version}-image.tar.gz"),
            &format!("web-console-migrate-{version}-image.tar.gz"),
        ],
    };
    release.publish(&world);
}

#[test]
fn queue_publishes_product() {
    let world = World::new();
    create_product(&world);
    let manifest = "metadata: {name: compass}\nspec:\n  version: v2.7.0\n  imageLists: \
                    [images-lists/a.list]\n  addons: addons\n  files: [{source: hack/install.sh, path: \
                    install.sh, mode: \"0755\"}]\n";
    let release = Release {
        target: ["product", "v2.7.0"],
        files: &[
            ("release-products/v2.7.0.yaml", manifest),
            ("hack/install.sh", "echo installed\n"),
        ],
        images: &["console-web:v3.1.0", "console-migrate:v3.1.0"],
        package: "products/compass/v2.7.0/compass-v2.7.0.tar.gz",
        members: &[
            "product.yaml",
            "images.list",
            "install.sh",
            "addons/default/console/web/values.yaml",
        ],
    };
    release.publish(&world);
}
