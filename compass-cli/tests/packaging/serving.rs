//! `serve` of bundles: pulls, the login, and what cannot be served.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::sync::Arc;

use compass_registry::client::{Client, ClientOptions};
use compass_registry::http::HttpOptions;
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::{SampleImage, random_bytes, read_image};
use compass_registry::{Destination, Digest, ImageRef, Repository, Tag, copy};
use serde_json::{Value, json};

use super::world::World;

pub(super) const BUNDLE: &str = "out/compass-plugins-web-v1.0.0.tar.gz";

/// A running server. Dropping it ends the process.
pub(super) struct Served {
    process: Child,
    pub(super) host: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Served {
    pub(super) fn start(world: &World, arguments: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut command = world.command(&arguments);
        command.env("COMPASS_SERVE_PASSWORD", "hunter2");
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let host = line.split(' ').next().unwrap().to_owned();
        Self { process, host }
    }

    pub(super) fn client(&self) -> Client {
        Client::new(&self.host, ClientOptions::default()).unwrap()
    }

    /// Ends the process and returns its log.
    pub(super) fn log(mut self) -> String {
        self.process.kill().unwrap();
        let mut log = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        log
    }
}

pub(super) fn world() -> (World, SampleImage) {
    let world = World::new();
    let image = SampleImage::with_layers(vec![random_bytes(1, 300_000), random_bytes(2, 70_000)]);
    world.push("web", &image);
    world.add_plugin("web");
    assert_eq!(world.package("web", &["-o", "out"]).code, 0);
    world.write("none.json", "{}");
    (world, image)
}

pub(super) fn web() -> ImageRef {
    let (name, tag): (Repository, Tag) = ("release/web".parse().unwrap(), "v1".parse().unwrap());
    ImageRef::new(name, tag)
}

#[test]
fn serve_bundle_pulls_and_rejects_pushes() {
    let (world, image) = world();
    let extracted = world.run(&["extract", BUNDLE, "--image", "web", "--layout", "-o", "layout"]);
    assert_eq!(extracted.code, 0, "{}", extracted.error);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for source in [BUNDLE, "layout"] {
        let served = Served::start(&world, &[source]);
        let client = served.client();
        let pulled = runtime.block_on(read_image(Arc::new(client.clone()), &web())).unwrap();
        assert_eq!(pulled.digest(), image.manifest.digest());
        let listed = runtime.block_on(client.repositories()).unwrap();
        assert_eq!(listed, [web().repository]);
        let storage = MemoryStorage::default();
        let (from, to) = (web(), Destination::new(web().repository, "v2".parse::<Tag>().unwrap()));
        runtime.block_on(async {
            image.store(&storage, &from.repository, &"v1".parse().unwrap()).await.unwrap();
            let pushed = copy(Arc::new(storage), &from, Arc::new(client), &to).await;
            let refused = format!("{:?}", pushed.unwrap_err());
            assert!(refused.contains("405") && refused.contains("read-only"), "{refused}");
        });
    }
}

#[test]
fn serve_damaged_bundle_breaks_off_and_logs() {
    let (world, image) = world();
    let mut bytes = std::fs::read(world.path(BUNDLE)).unwrap();
    let layer = &image.blobs[1];
    let at = bytes.windows(64).position(|part| part == &layer[1000..1064]).unwrap();
    bytes[at] ^= 1;
    std::fs::write(world.path("damaged.tar.gz"), bytes).unwrap();
    let served = Served::start(&world, &["damaged.tar.gz"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let blob = format!("http://{}/v2/release/web/blobs/{}", served.host, Digest::of(layer));
    runtime.block_on(async {
        let http = HttpOptions::default().build().unwrap();
        // The server may break off before it sends the status.
        let transfer = async { http.get(blob).send().await?.bytes().await };
        assert!(transfer.await.is_err(), "the transfer breaks off");
        let metrics = http.get(format!("http://{}/metrics", served.host)).send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        assert!(metrics.contains("compass_registry_streams_failed_total 1\n"), "{metrics}");
    });
    let log = served.log();
    assert!(log.contains("a transfer failed") && log.contains("the gzip checksum"), "{log}");
}

#[test]
fn serve_login_is_in_no_output() {
    let (world, _) = world();
    let served = Served::start(&world, &[BUNDLE, "--user", "robot", "-vvv"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let host = served.host.clone();
    let statuses = runtime.block_on(async {
        let http = HttpOptions::default().build().unwrap();
        let mut statuses = Vec::new();
        for (path, password) in
            [("v2/", "hunter2"), ("v2/", "wrong"), ("healthz", ""), ("metrics", "hunter2")]
        {
            let request = http.get(format!("http://{host}/{path}"));
            let answer = request.basic_auth("robot", Some(password)).send().await.unwrap();
            statuses.push(answer.status().as_u16());
            assert!(!answer.text().await.unwrap().contains("hunter2"));
        }
        statuses
    });
    assert_eq!(statuses, [200, 401, 200, 200]);
    let log = served.log();
    assert!(!log.contains("hunter2") && !log.contains("cm9ib3Q6aHVudGVyMg"), "{log}");
}

#[test]
fn serve_cache_hides_upstream_credentials() {
    let (world, image) = world();
    let upstream = format!("http://{}", world.registry.host());
    let arguments = ["--upstream", &upstream, "--cache", "cache", "--cache-size", "1MiB", "-vvv"];
    let served = Served::start(&world, &arguments);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pulled = runtime.block_on(read_image(Arc::new(served.client()), &web())).unwrap();
    assert_eq!(pulled.digest(), image.manifest.digest());
    let log = served.log();
    assert!(!log.contains("hunter2") && !log.contains("cm9ib3Q6aHVudGVyMg"), "{log}");
    // Another directory is not taken for a cache.
    let ran = world.run(&["serve", "--upstream", &upstream, "--cache", "repo"]);
    assert_eq!(ran.code, 2, "{}", ran.error);
    assert!(ran.error.contains("not empty and not a cache"), "{}", ran.error);
}

#[test]
fn serve_invalid_arguments_are_usage_errors() {
    let (world, _) = world();
    world.write("empty", "");
    for (arguments, code, fragment) in [
        (&["serve"][..], 2, "<BUNDLE>"),
        (&["serve", BUNDLE, "--writable", "dir"], 2, "cannot be used with"),
        (&["serve", BUNDLE, "--user", "robot"], 2, "set COMPASS_SERVE_PASSWORD"),
        (&["serve", BUNDLE, "--user", "a:b", "--password-file", "none.json"], 2, "contain `:`"),
        (&["serve", BUNDLE, "--password-file", "none.json"], 2, "--user"),
        (&["serve", BUNDLE, "--tls-cert", "empty"], 2, "--tls-key"),
        (&["serve", BUNDLE, "--tls-cert", "empty", "--tls-key", "gone"], 2, "cannot read gone"),
        (&["serve", BUNDLE, "--tls-cert", "empty", "--tls-key", "empty"], 2, "the TLS certificate"),
        (&["serve", "gone.tar.gz"], 3, "gone.tar.gz"),
        (&["serve", "out"], 1, "a directory without `index.json`"),
    ] {
        let ran = world.run(&[arguments, &["--listen", "127.0.0.1:0"]].concat());
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.error);
        assert!(ran.error.contains(fragment), "{arguments:?}: {}", ran.error);
    }
}

#[test]
fn serve_foreign_package_explains_alternatives() {
    let (world, _) = world();
    assert_eq!(world.run(&["extract", BUNDLE, "--image", "web", "-o", "web.tar.gz"]).code, 0);
    let ran = world.run(&["serve", "web.tar.gz", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, 1, "{}", ran.error);
    for fragment in ["web.tar.gz is not a bundle", "compass install", "--layout -o DIR"] {
        assert!(ran.error.contains(fragment), "{fragment}: {}", ran.error);
    }
}

#[test]
fn serve_equal_tags_name_both_bundles() {
    let (world, _) = world();
    world.push("web", &SampleImage::with_layers(vec![random_bytes(9, 100)]));
    assert_eq!(world.package("web", &["-o", "other"]).code, 0);
    let other = BUNDLE.replace("out/", "other/");
    let ran = world.run(&["serve", BUNDLE, &other, "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, 1, "{}", ran.error);
    for fragment in ["release/web:v1", BUNDLE, &other] {
        assert!(ran.error.contains(fragment), "{fragment}: {}", ran.error);
    }
}

#[test]
fn serve_hosts_toml_names_mirror() {
    let (world, _) = world();
    let host = world.registry.host();
    let print = |more: &[&str]| {
        let ran = world.run(&[&["serve", BUNDLE, "--hosts-toml", "10.0.0.5:5000"], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.error);
        String::from_utf8(ran.out).unwrap()
    };
    let expected = format!(
        "# /etc/containerd/certs.d/{host}/hosts.toml\nserver = \"https://{host}\"\n\n\
         [host.\"http://10.0.0.5:5000\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    );
    assert_eq!(print(&[]), expected);
    let printed: Value = serde_json::from_str(&print(&["--format", "json"])).unwrap();
    let path = format!("/etc/containerd/certs.d/{host}/hosts.toml");
    assert_eq!(printed["files"][0]["path"], json!(path));
}
