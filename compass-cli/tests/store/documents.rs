//! The commands of `docs/scale.md` and `docs/stores.md`, with the registries of `compass demo --keep`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use compass_manifest::yaml;

use crate::world::{SECRET, World};

const COMPASS: &str = env!("CARGO_BIN_EXE_compass");
const SCALE: &str = include_str!("../../../docs/scale.md");
const STORES: &str = include_str!("../../../docs/stores.md");

/// The bucket of the documents.
const BUCKET: &str = "infra-release";

/// A block of a page.
struct Block {
    language: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut lines) = (Vec::new(), page.lines());
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let text: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(Block { language: language.to_owned(), text: text.join("\n") });
    }
    blocks
}

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
        demo.run("compass sync product v2.7.0 && compass sync plugin gpu-manager");
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

    /// Removes the published product, so that the next commands publish it again.
    fn remove_product(&self) {
        let key = "products/compass/v2.7.0/compass-v2.7.0.tar.gz";
        let bundle = format!("s3://{BUCKET}/{key}");
        self.run(&format!("compass verify {bundle}"));
        for key in [key.to_owned(), format!("{key}.sha256")] {
            self.world.delete(&format!("{BUCKET}/{key}"));
        }
    }
}

impl Drop for Demo<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn scale_page_commands_succeed() {
    let Some(world) = World::required("scale") else { return };
    let demo = Demo::start(&world);
    let blocks = blocks(SCALE);
    let (yaml, shell): (Vec<_>, Vec<_>) =
        blocks.into_iter().partition(|block| block.language == "yaml");
    assert_eq!((shell.len(), yaml.len()), (2, 2));
    for block in &shell {
        demo.run(&block.text);
    }
    demo.remove_product();

    let workflow = yaml::parse(&yaml[0].text).unwrap();
    let job = workflow.at(&["jobs", "package"]).unwrap();
    let shards = job.at(&["strategy", "matrix", "shard"]).unwrap().items();
    let steps = job.get("steps").unwrap().items();
    let command = steps.iter().find_map(|step| step.get("run")?.text()).unwrap();
    for shard in shards {
        demo.run(&command.replace("${{ matrix.shard }}", shard.text().unwrap()));
    }
    demo.remove_product();

    let job = yaml::parse(&yaml[1].text).unwrap();
    let completions = job.at(&["spec", "completions"]).unwrap().text().unwrap();
    let containers = job.at(&["spec", "template", "spec", "containers"]).unwrap().items();
    let command = containers[0].get("args").unwrap().items()[0].text().unwrap();
    let command = command.replace("/work/repo", &demo.repository.display().to_string());
    for index in 0..completions.parse::<u32>().unwrap() {
        demo.run(&format!("export JOB_COMPLETION_INDEX={index}\n{command}"));
    }
    demo.remove_product();
}

/// The commands for OSS need an endpoint of Alibaba Cloud, so only those for S3 are run.
#[test]
fn stores_page_commands_succeed() {
    let Some(world) = World::required("documents") else { return };
    let demo = Demo::start(&world);
    let blocks = blocks(STORES);
    let [Block { text, .. }] = &blocks[..] else { panic!("the page has one block") };
    let (s3, oss) = text.split_once("\n\n").unwrap();
    demo.run("compass package plugin gpu-manager -o .");
    demo.run(&format!("unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY\n{s3}"));
    let commands: Vec<_> = oss.lines().filter(|line| line.starts_with("compass ")).collect();
    assert_eq!(commands.len(), 2);
    for command in commands {
        demo.run(&command.replace("oss://", "s3://"));
    }
}
