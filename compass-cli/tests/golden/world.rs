//! Release repositories with fixed commits, and three registries.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::MemoryStorage;
use serde_json::json;

use super::images;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/release");

/// Creates four copies of the example: `example` without changes, `repo` with more targets,
/// `uncommitted` with the targets of `repo` and an uncommitted change, and `broken` with a change
/// that violates the rules.
const REPOSITORIES: &str = r#"
commit() {
    git -C "$1" init --quiet --initial-branch=main
    git -C "$1" add --all
    git -C "$1" commit --quiet --message="Release v2.7.0"
    git -C "$1" tag v2.7.0
    git -C "$1" update-ref refs/remotes/origin/main HEAD
}
cp -R "$EXAMPLE" example
cp -R "$EXAMPLE" repo
sed -e 's/gpu-manager:v0.1.1/mixed:v1.0.0/; s/v0.1.1/v1.0.0/; s/gpu-manager/mixed/; s/9001/9003/; s/cluster.gpu/cluster.mixed/' \
    repo/release-plugins/gpu-manager.yaml >repo/release-plugins/mixed.yaml
printf 'release/compass-plugins-mixed:v1.0.0\nrelease/compass-plugins-log-viewer:v1.2.0\n' >repo/images-lists/more.images
sed -e 's/v2.7.0/v2.7.1/; s/\*.list/*.images/' repo/release-products/v2.7.0.yaml >repo/release-products/v2.7.1.yaml
cp -R repo uncommitted
cp -R repo broken
for repository in example repo uncommitted broken; do commit $repository; done
echo '# changed' >>uncommitted/release-plugins/gpu-manager.yaml
sed -i -e 's/9001/9002/; s/system.plugin_center/user.logs/; s/v0.1.1/0.1/' broken/release-plugins/gpu-manager.yaml
printf 'metadata: {name: tabs}\n\tspec: {}\n' >broken/release-plugins/tabs.yaml
sed -i -e 's/replica: 2/replica: 3/; s/containers:/controllers:/' \
    broken/release-hotfixes/v2.7.0/web-v2.7.0-20180605-p1/default/console/web/values.yaml
printf 'release/web\nrelease/web:v1 release/web:v2\n' >>broken/images-lists/platform.list
"#;

/// A directory with release repositories, and registries: `<source>` has every image, `<release>`
/// and `<site>` are empty.
pub(super) struct World {
    directory: tempfile::TempDir,
    /// Serves the registries.
    _runtime: tokio::runtime::Runtime,
    registries: Vec<(&'static str, Server)>,
}

impl World {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let registries = runtime.block_on(async {
            let mut registries = Vec::new();
            for name in ["<source>", "<release>", "<site>"] {
                let storage = MemoryStorage::default();
                if name == "<source>" {
                    images::store(&storage).await;
                }
                let server = Server::start(storage, "127.0.0.1:0", ServerOptions::default());
                registries.push((name, server.await.unwrap()));
            }
            registries
        });
        let world = Self { directory, _runtime: runtime, registries };
        world.shell(REPOSITORIES);
        world.write_review();
        world
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a shell script in the directory of this world.
    pub(super) fn shell(&self, script: &str) {
        let output = self.command("sh").args(["-ec", &self.resolved(script)]).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs `compass`; returns its exit code and output. Parts that differ between runs are masked.
    pub(super) fn compass(&self, arguments: &str) -> String {
        let mut command = self.command(env!("CARGO_BIN_EXE_compass"));
        let arguments = self.resolved(arguments);
        let output = command.arg("--no-progress").args(arguments.split(' ')).output().unwrap();
        let mut text = format!("exit {}\n", output.status.code().unwrap());
        for (name, stream) in [("stdout", output.stdout), ("stderr", output.stderr)] {
            if !stream.is_empty() {
                let stream = String::from_utf8_lossy(&stream);
                text.push_str(&format!("--- {name}\n{}", self.masked(&stream)));
            }
        }
        text
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory.path()).stdin(Stdio::null()).env("EXAMPLE", EXAMPLE);
        command.env("XDG_STATE_HOME", self.directory.path().join("state"));
        for name in ["SOURCE_DATE_EPOCH", "NO_COLOR", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"]
        {
            command.env_remove(name);
        }
        for (name, value) in [
            ("COLUMNS", "60"),
            ("HOME", "."),
            ("REGISTRY_AUTH_FILE", "auth.json"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_AUTHOR_NAME", "a"),
            ("GIT_AUTHOR_EMAIL", "a@example.org"),
            ("GIT_AUTHOR_DATE", "2018-06-05T00:00:00Z"),
            ("GIT_COMMITTER_NAME", "a"),
            ("GIT_COMMITTER_EMAIL", "a@example.org"),
            ("GIT_COMMITTER_DATE", "2018-06-05T00:00:00Z"),
        ] {
            command.env(name, value);
        }
        command
    }

    /// A command with the hosts of the registries and the path of this world.
    fn resolved(&self, command: &str) -> String {
        let text = command.replace("<world>", self.directory.path().to_str().unwrap());
        let registries = self.registries.iter();
        registries.fold(text, |text, (name, server)| text.replace(name, &server.host()))
    }

    /// An output without hosts, paths and durations.
    fn masked(&self, text: &str) -> String {
        let directory = self.directory.path().canonicalize().unwrap();
        let mut text = text.replace(directory.to_str().unwrap(), "<world>");
        for (name, server) in &self.registries {
            text = text.replace(&server.host(), name);
        }
        text = text.replace(env!("CARGO_PKG_VERSION"), "<version>");
        let lines = text.lines().map(|line| {
            let found =
                ["\"seconds\": ", " failed, in ", "answers in "].into_iter().find_map(|before| {
                    let (start, rest) = line.split_once(before)?;
                    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
                    Some(format!("{start}{before}<time>{rest}\n"))
                });
            found.unwrap_or_else(|| format!("{line}\n"))
        });
        lines.collect()
    }

    /// Writes the files that `compass review` reads.
    fn write_review(&self) {
        let image = "cargo.caicloudprivatetest.com/caicloud/compass-plugins-gpu-manager:v0.1.1";
        let body = "**Release note**:\nFirst release.\n\n/kind release\n/queue need-queue\n/cc \
                    @supereagle @pendoragon\n";
        let pushed =
            format!("image(s) pushed to\r\n{image}\r\n\r\n/queue patches-need-sync-image\r\n");
        let event = json!({"pull_request": {
            "body": body, "user": {"login": "alice"},
            "labels": [{"name": "queue/need-queue"}, {"name": "kind/release"}],
        }});
        for (name, text) in [
            ("auth.json", json!({}).to_string()),
            ("body.md", body.to_owned()),
            ("empty.md", String::new()),
            ("event.json", event.to_string()),
            ("comments.json", json!([{"user": {"login": "alice"}, "body": pushed}]).to_string()),
            ("facts.json", json!({"in_source": [image]}).to_string()),
        ] {
            std::fs::write(Path::new(&self.path(name)), text).unwrap();
        }
    }
}
