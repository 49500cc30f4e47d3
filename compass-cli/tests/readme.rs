//! The example session of the README in both languages, with the registries of `compass demo --keep`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const COMPASS: &str = env!("CARGO_BIN_EXE_compass");

/// The site's registry in the README.
const SITE: &str = "127.0.0.1:5003";

/// The shell block of the README after the marker comment.
fn session(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let marked = text.split("-->\n```sh\n").nth(1).expect("a marked block");
    marked.split("```").next().unwrap().to_owned()
}

/// Starts a demo; returns its process, its release repository and the host of its site.
fn keep(directory: &Path) -> (Child, PathBuf, String) {
    let mut demo = Command::new(COMPASS)
        .args(["demo", "--keep", "--format", "json"])
        .current_dir(directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = String::new();
    let mut lines = BufReader::new(demo.stdout.as_mut().unwrap()).lines();
    while !printed.ends_with("}\n") {
        printed += &(lines.next().expect("an object").unwrap() + "\n");
    }
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let text = |key: &str| printed[key].as_str().unwrap().to_owned();
    (demo, text("repository").into(), text("site"))
}

#[test]
fn readme_session_succeeds_in_both_languages() {
    let commands = |file: &str| -> Vec<String> {
        let lines = session(file);
        let command = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
        lines.lines().map(command).filter(|line| !line.is_empty()).collect()
    };
    let english = commands("README.md");
    assert_eq!(english, commands("README.zh-CN.md"));

    let directory = tempfile::tempdir().unwrap();
    let (mut demo, repository, site) = keep(directory.path());
    let programs = Path::new(COMPASS).parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let identity = "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b.c GIT_COMMITTER_NAME=a \
                    GIT_COMMITTER_EMAIL=a@b.c";
    // Another demo on this machine may use the ports.
    let script = session("README.md").replace(SITE, &site);
    let output = Command::new("sh")
        .args(["-ec", &format!("{identity}\n{script}")])
        .env("PATH", path)
        .current_dir(&repository)
        .output()
        .unwrap();
    demo.kill().unwrap();
    demo.wait().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&printed));
    assert!(repository.join("out/compass-v2.7.0.tar.gz").is_file());
    assert!(directory.path().join("compass-demo/store/plugins/gpu-manager").is_dir());
}
