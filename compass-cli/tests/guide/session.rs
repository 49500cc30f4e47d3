//! The shell of a reader, with the registries of the demo and a forge.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::forge_server::ForgeServer;

const COMPASS: &str = env!("CARGO_BIN_EXE_compass");

pub(crate) struct Session {
    directory: tempfile::TempDir,
    /// The working directory of the shell.
    current: PathBuf,
    demo: Child,
    forge: ForgeServer,
    /// The hosts in the guide, and those of the demo, whose ports may differ.
    hosts: Vec<(&'static str, String)>,
}

impl Session {
    /// Starts `compass demo --keep` and the forge.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut demo = Command::new(COMPASS)
            .args(["demo", "--keep", "--format", "json"])
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut printed = String::new();
        let mut lines = BufReader::new(demo.stdout.as_mut().unwrap()).lines();
        while !printed.ends_with("}\n") {
            printed += &(lines.next().expect("an object").unwrap() + "\n");
        }
        let printed: Value = serde_json::from_str(&printed).unwrap();
        let host = |key: &str| printed[key].as_str().unwrap().to_owned();
        let hosts = vec![("127.0.0.1:5001", host("source")), ("127.0.0.1:5003", host("site"))];
        let current = directory.path().to_owned();
        Self { directory, current, demo, forge: ForgeServer::start(), hosts }
    }

    /// Runs commands, all of which succeed. The next commands start in the directory where these end.
    pub(crate) fn run(&mut self, commands: &str) {
        self.update_forge();
        let end = self.directory.path().join("pwd");
        let output = self.shell(&format!("{commands}\npwd > '{}'", end.display()));
        assert!(output.status.success(), "{commands}\n{}", text(&output));
        self.current = std::fs::read_to_string(end).unwrap().trim_end().into();
    }

    /// Runs a command that is refused with a message.
    pub(crate) fn refused(&mut self, command: &str) {
        let output = self.shell(command);
        let code = output.status.code().unwrap();
        assert!((1..=3).contains(&code), "{command}: {code}\n{}", text(&output));
        assert!(text(&output).contains("error"), "{command}\n{}", text(&output));
    }

    pub(crate) fn set_author(&self, number: u64, login: &str) {
        self.forge.act(|forge| login.clone_into(&mut forge.pulls.get_mut(&number).unwrap().author));
    }

    /// Comments on a pull request. The text may contain commands in `$(…)`.
    pub(crate) fn comment(&self, number: u64, login: &str, comment: &str) {
        let output = self.shell(&format!("printf '%s' \"{comment}\""));
        assert!(output.status.success(), "{comment}\n{}", text(&output));
        let comment = String::from_utf8(output.stdout).unwrap();
        self.forge.act(|forge| forge.comment(number, login, &comment));
    }

    pub(crate) fn labels(&self, number: u64) -> Vec<String> {
        let mut labels = self.forge.act(|forge| forge.pulls[&number].labels.clone());
        labels.sort();
        labels
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

    fn shell(&self, script: &str) -> Output {
        let script = self
            .hosts
            .iter()
            .fold(script.to_owned(), |script, (written, host)| script.replace(written, host));
        let programs = Path::new(COMPASS).parent().unwrap().display();
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(&self.current)
            .env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap()))
            .env("HOME", self.directory.path())
            .env("XDG_STATE_HOME", self.directory.path().join("state"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .envs(self.forge.environment())
            .output()
            .unwrap()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.demo.kill();
        let _ = self.demo.wait();
    }
}

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&all).into_owned()
}
