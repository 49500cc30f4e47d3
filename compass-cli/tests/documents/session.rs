//! The shell of a reader, with the registries of the demo, a forge and a plugin center.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::center::{Behaviour, PluginCenter};
use crate::forge_server::ForgeServer;
use crate::page::{Item, Mode};

const COMPASS: &str = env!("CARGO_BIN_EXE_compass");

/// Copies the release repository. The path of the store is a part of its commit.
const COPY: &str = "
    mkdir compass-demo
    cp -a {demo}/compass-demo/release compass-demo/
    cd compass-demo/release
    sed -i 's|{demo}|{dir}|' .compass.yaml
    git -c user.name=demo -c user.email=demo@example.com commit --quiet --all --amend --no-edit
    git update-ref refs/remotes/origin/main HEAD
    git tag --force v2.7.0 > /dev/null
";

/// Substitutes for programs that need a daemon or a cluster: they read the files that they get.
const PROGRAMS: [(&str, &str); 6] = [
    ("docker", "exec tar -tf -"),
    ("ctr", "exec tar -tf -"),
    ("podman", "exec tar -tf \"$3\""),
    ("ssh", "shift; exec \"$@\""),
    ("kubectl", "for file; do :; done; exec test -s \"$file\""),
    ("man", "exec grep -q '^.TH'"),
];

/// A running `compass demo --keep`, which all readers share.
pub(crate) struct Demo {
    directory: tempfile::TempDir,
    process: Child,
    /// Its registries: `source`, `release` and `site`.
    hosts: Value,
}

impl Demo {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut process = Command::new(COMPASS)
            .args(["demo", "--keep", "--format", "json"])
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut printed = String::new();
        let mut lines = BufReader::new(process.stdout.as_mut().unwrap()).lines();
        while !printed.ends_with("}\n") {
            printed += &(lines.next().expect("an object").unwrap() + "\n");
        }
        Self { directory, process, hosts: serde_json::from_str(&printed).unwrap() }
    }

    fn host(&self, name: &str) -> String {
        self.hosts[name].as_str().unwrap().to_owned()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) struct Session {
    directory: tempfile::TempDir,
    /// The working directory of the shell.
    current: PathBuf,
    /// A server that the reader has started.
    server: Option<Child>,
    forge: ForgeServer,
    /// The values of `{…}` in the table of pages.
    places: Vec<(&'static str, String)>,
    /// Texts of the page with their replacements.
    substitutes: Vec<(&'static str, String)>,
}

impl Session {
    /// Copies the release repository of the demo, with a store of its own.
    pub(crate) fn start(demo: &Demo) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Another demo on this machine may use the ports of the guide.
        let substitutes = vec![
            ("127.0.0.1:5001", demo.host("source")),
            ("127.0.0.1:5003", demo.host("site")),
            ("127.0.0.1:8080", "{free}".to_owned()),
        ];
        let places = vec![
            ("{source}", demo.host("source")),
            ("{release}", demo.host("release")),
            ("{site}", demo.host("site")),
            ("{demo}", demo.directory.path().display().to_string()),
            ("{dir}", directory.path().display().to_string()),
            ("{free}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()),
            ("{center}", PluginCenter::start(Behaviour::Works).url),
        ];
        write_programs(&directory.path().join("bin"));
        let current = directory.path().to_owned();
        let forge = ForgeServer::start();
        let mut session = Self { directory, current, server: None, forge, places, substitutes };
        session.run(COPY);
        session.current = session.directory.path().to_owned();
        session
    }

    /// Replaces texts of a page in the commands that follow.
    pub(crate) fn substitute(&mut self, substitutes: &[(&'static str, &'static str)]) {
        self.substitutes = substitutes
            .iter()
            .map(|(written, meant)| (*written, self.with_places(meant)))
            .collect();
    }

    fn with_places(&self, text: &str) -> String {
        self.places.iter().fold(text.to_owned(), |text, (name, place)| text.replace(name, place))
    }

    /// Does what an item of a page says.
    pub(crate) fn follow(&mut self, item: Item) {
        match item {
            Item::Block(Mode::Refused, commands) => {
                for line in commands.lines() {
                    self.refused(line);
                }
            }
            Item::Block(_, commands) => self.run(&commands),
            Item::Author { number, login } => self.set_author(number, &login),
            Item::Merge { number } => self.merge(number),
            Item::Comment { number, login, text } => self.comment(number, &login, &text),
        }
    }

    /// Runs commands. Servers run until the next one starts; all others succeed.
    pub(crate) fn run_or_serve(&mut self, commands: &[String]) {
        let is_server = |command: &String| {
            command.starts_with("compass serve ") && !command.contains("--hosts-toml")
        };
        for commands in commands.chunk_by(|one, other| !is_server(one) && !is_server(other)) {
            match commands {
                [command] if is_server(command) => self.serve(&format!("exec {command}")),
                commands => self.run(&commands.join("\n")),
            }
        }
    }

    /// Runs a script that becomes a server, and waits until that listens. Stops the last server.
    pub(crate) fn serve(&mut self, command: &str) {
        self.stop_server();
        self.update_forge();
        let mut server = self.shell(command);
        self.server = Some(server.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        let address = self.with_places("{free}");
        for _ in 0..200 {
            if TcpStream::connect(&address).is_ok() {
                return;
            }
            let ended = self.server.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{command}: {ended:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{command} does not listen at {address}");
    }

    fn stop_server(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Runs commands, all of which succeed. The next commands start in the directory where these end.
    pub(crate) fn run(&mut self, commands: &str) {
        self.update_forge();
        let end = self.directory.path().join("pwd");
        let output = self.output(&format!("{commands}\npwd > '{}'", end.display()));
        assert!(output.status.success(), "{commands}\n{}", text(&output));
        self.current = std::fs::read_to_string(end).unwrap().trim_end().into();
    }

    /// Runs a command that is refused with a message.
    pub(crate) fn refused(&mut self, command: &str) {
        let output = self.output(command);
        let code = output.status.code().unwrap();
        assert!((1..=3).contains(&code), "{command}: {code}\n{}", text(&output));
        assert!(text(&output).contains("error"), "{command}\n{}", text(&output));
    }

    pub(crate) fn set_author(&self, number: u64, login: &str) {
        self.forge.act(|forge| login.clone_into(&mut forge.pulls.get_mut(&number).unwrap().author));
    }

    pub(crate) fn merge(&self, number: u64) {
        self.forge.act(|forge| forge.close(number, true));
    }

    /// Comments on a pull request. The text may contain commands in `$(…)`.
    pub(crate) fn comment(&self, number: u64, login: &str, comment: &str) {
        let output = self.output(&format!("printf '%s' \"{comment}\""));
        assert!(output.status.success(), "{comment}\n{}", text(&output));
        let comment = String::from_utf8(output.stdout).unwrap();
        self.forge.act(|forge| forge.comment(number, login, &comment));
    }

    pub(crate) fn labels(&self, number: u64) -> Vec<String> {
        let mut labels = self.forge.act(|forge| forge.pulls[&number].labels.clone());
        labels.sort();
        labels
    }

    /// Whether the store has a package.
    pub(crate) fn is_published(&self, path: &str) -> bool {
        self.directory.path().join("compass-demo/store").join(path).is_file()
    }

    /// The kinds of packages with receipts.
    pub(crate) fn receipts(&self) -> Vec<String> {
        let directory = self.directory.path().join("state/compass/receipts");
        let kinds = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        let mut kinds: Vec<String> = kinds.map(|kind| kind.into_string().unwrap()).collect();
        kinds.retain(|kind| !kind.starts_with('.'));
        kinds.sort();
        kinds
    }

    /// Tells the forge about the bare repository of the guide.
    fn update_forge(&self) {
        let repository = self.directory.path().join("compass-demo/forge.git");
        let main =
            Command::new("git").args(["rev-parse", "main"]).current_dir(&repository).output();
        let Some(main) = main.ok().filter(|output| output.status.success()) else { return };
        let main = String::from_utf8(main.stdout).unwrap().trim_end().to_owned();
        self.forge.act(|forge| {
            forge.git = Some(repository);
            forge.base_commit = main;
        });
    }

    fn output(&self, script: &str) -> Output {
        self.shell(script).stdin(Stdio::null()).output().unwrap()
    }

    fn shell(&self, script: &str) -> Command {
        let script = self
            .substitutes
            .iter()
            .fold(script.to_owned(), |script, (written, meant)| script.replace(written, meant));
        let programs = Path::new(COMPASS).parent().unwrap().display();
        let substitutes = self.directory.path().join("bin");
        let path = std::env::var("PATH").unwrap();
        let mut shell = Command::new("bash");
        shell
            .args(["-euo", "pipefail", "-c", &self.with_places(&script)])
            .current_dir(&self.current)
            .env("PATH", format!("{programs}:{}:{path}", substitutes.display()))
            .env("HOME", self.directory.path())
            .env("XDG_STATE_HOME", self.directory.path().join("state"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env_remove("COMPASS_PLUGIN_CENTER_TOKEN")
            .envs(self.forge.environment());
        shell
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop_server();
    }
}

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// Writes the substitutes of programs into a directory.
fn write_programs(directory: &Path) {
    std::fs::create_dir(directory).unwrap();
    for (name, script) in PROGRAMS {
        let path = directory.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script} > /dev/null\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}
