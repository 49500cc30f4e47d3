//! The commands of `docs/stores.md`, with the registries of `compass demo --keep`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::world::{SECRET, World};

const COMPASS: &str = env!("CARGO_BIN_EXE_compass");
const STORES: &str = include_str!("../../../docs/stores.md");

/// The bucket of the documents.
const BUCKET: &str = "infra-release";

/// The release repository of a demo, whose images are in its release registry.
struct Demo<'w> {
    world: &'w World,
    process: Child,
    repository: PathBuf,
}

impl<'w> Demo<'w> {
    fn start(world: &'w World) -> Self {
        world.create_bucket(BUCKET);
        let mut command = world.command(&["demo", "--keep", "--format", "json"]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut printed = String::new();
        let mut lines = BufReader::new(process.stdout.as_mut().unwrap()).lines();
        while !printed.ends_with("}\n") {
            printed += &(lines.next().expect("an object").unwrap() + "\n");
        }
        let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
        let repository = PathBuf::from(printed["repository"].as_str().unwrap());
        let aws = world.path(".aws");
        std::fs::create_dir_all(&aws).unwrap();
        let credentials = format!("aws_access_key_id = robot\naws_secret_access_key = {SECRET}\n");
        std::fs::write(aws.join("credentials"), format!("[releases]\n{credentials}")).unwrap();
        let demo = Self { world, process, repository };
        demo.run("compass sync plugin gpu-manager");
        demo
    }

    /// Runs commands in the release repository.
    fn run(&self, script: &str) {
        let programs = Path::new(COMPASS).parent().unwrap().display();
        let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
        let home = self.world.directory.path();
        let output = Command::new("sh")
            .args(["-ec", script])
            .current_dir(&self.repository)
            .env("PATH", path)
            .env("HOME", home)
            .env("XDG_STATE_HOME", home)
            .env("AWS_ENDPOINT_URL", &self.world.server.address)
            .env("AWS_ACCESS_KEY_ID", "robot")
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .output()
            .unwrap();
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{script}\n{printed}");
        assert!(!printed.contains(SECRET), "{printed}");
    }
}

impl Drop for Demo<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The commands for OSS need an endpoint of Alibaba Cloud, so only those for S3 are run.
#[test]
fn stores_page_commands_succeed() {
    let Some(world) = World::required("documents") else { return };
    let demo = Demo::start(&world);
    let text = STORES.split("```\n").nth(1).expect("a block");
    let (s3, oss) = text.split_once("\n\n").unwrap();
    demo.run("compass package plugin gpu-manager -o .");
    demo.run(&format!("unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY\n{s3}"));
    let commands: Vec<_> = oss.lines().filter(|line| line.starts_with("compass ")).collect();
    assert_eq!(commands.len(), 2);
    for command in commands {
        demo.run(&command.replace("oss://", "s3://"));
    }
}
