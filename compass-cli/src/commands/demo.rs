use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use compass_bundle::Bundle;
use compass_bundle::store::Store;
use compass_manifest::{check, render};
use compass_registry::client::{Client, ClientOptions};
use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::DiskStorage;
use compass_registry::{CopyOptions, Digest, ImageSink as _, Reference, RegistryPrefix};

use super::package::destination::to_file;
use super::sync::{self, ImageTransfer};
use super::{package, publish, verify};
use crate::cli::Global;
use crate::demo::folder::Folder;
use crate::demo::images;
use crate::demo::summary::{Image, Package, Step, Summary};
use crate::error::CliError;
use crate::output::Output;
use crate::registries::Registries;
use crate::repository::{Repository, TargetImage};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the results are left; an earlier demo there is removed
    #[arg(long, default_value = "compass-demo", value_name = "DIR")]
    folder: PathBuf,
    /// Goes no further than the source registry, leaves the registries running, and says what to
    /// type
    #[arg(long)]
    pub(crate) keep: bool,
}

/// What the demo ships.
const TARGETS: [[&str; 2]; 4] = [
    ["plugin", "gpu-manager"],
    ["plugin", "log-viewer"],
    ["hotfix", "web-v2.7.0-20180605-p1"],
    ["product", "v2.7.0"],
];

/// What `compass bump plugin gpu-manager` makes of the example.
const BUMPED: (&str, &str) =
    ("compass-plugins-gpu-manager:v0.1.1", "compass-plugins-gpu-manager:v0.1.2");

/// Where the registries of `--keep` listen, if they can.
const KEPT_PORTS: [u16; 3] = [5001, 5002, 5003];

/// The registries of the demo, each with its own storage.
struct World {
    source: Server,
    release: Server,
    site: Server,
}

/// A demo under way.
struct Demo<'d> {
    world: &'d World,
    folder: &'d Folder,
    repository: &'d Repository,
    registries: Registries,
    options: CopyOptions,
    output: &'d Output,
    summary: Summary,
}

pub(crate) async fn run(
    args: &Args,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, CliError> {
    let folder = Folder::start_over(&args.folder)?;
    let world = World::start(&folder, args.keep).await?;
    let root = folder.write_release(&world.source.host(), &world.release.host())?;
    let global = Global { repo: Some(root), policy: None, ..*global };
    let repository = Repository::open(&global)?;
    let mut demo = Demo {
        world: &world,
        folder: &folder,
        repository: &repository,
        registries: Registries::of(&repository, &global),
        options: CopyOptions { jobs: global.jobs.into(), ..CopyOptions::default() },
        output,
        summary: Summary { steps: Vec::new(), images: Vec::new(), bundles: Vec::new() },
    };
    if args.keep {
        demo.push().await?;
        output.result(|| world.to_json(&folder), || world.to_text(&folder));
        let World { source, release, site } = world;
        tokio::select! {
            ended = source.stopped() => ended?,
            ended = release.stopped() => ended?,
            ended = site.stopped() => ended?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    demo.run().await?;
    let summary = demo.summary;
    output.result(|| summary.to_json(), || summary.to_text());
    Ok(if summary.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl World {
    async fn start(folder: &Folder, keep: bool) -> Result<Self, CliError> {
        let start = async |name: &str, port: u16| {
            let storage = DiskStorage::new(folder.path(name));
            let options = ServerOptions::default();
            let address = format!("127.0.0.1:{}", if keep { port } else { 0 });
            match Server::start(storage.clone(), &address, options.clone()).await {
                Err(_) if keep => Server::start(storage, "127.0.0.1:0", options).await,
                started => started,
            }
        };
        Ok(Self {
            source: start("source-registry", KEPT_PORTS[0]).await?,
            release: start("release-registry", KEPT_PORTS[1]).await?,
            site: start("site-registry", KEPT_PORTS[2]).await?,
        })
    }

    fn to_json(&self, folder: &Folder) -> serde_json::Value {
        serde_json::json!({
            "repository": folder.path("release"),
            "source": self.source.host(),
            "release": self.release.host(),
            "site": self.site.host(),
        })
    }

    fn to_text(&self, folder: &Folder) -> String {
        format!(
            "The registries run until Ctrl-C: developers {}, releases {}, a site {}.\n\nIn another \
             terminal:\n  cd {}\n  compass check\n  compass bump plugin gpu-manager\n  git commit -am \
             'Release gpu-manager v0.1.2'\n  compass check --base origin/main\n  compass sync plugin \
             gpu-manager\n  compass package plugin gpu-manager -o out\n  compass verify \
             out/compass-plugins-gpu-manager-v0.1.2.tar.gz\n  compass publish \
             out/compass-plugins-gpu-manager-v0.1.2.tar.gz\n  compass install \
             out/compass-plugins-gpu-manager-v0.1.2.tar.gz --registry {}/compass\n",
            self.source.host(),
            self.release.host(),
            self.site.host(),
            folder.path("release").display(),
            self.site.host(),
        )
    }
}

impl Demo<'_> {
    /// Takes the whole road, step by step.
    async fn run(&mut self) -> Result<(), CliError> {
        let pushed = self.push().await?;
        self.check()?;
        self.sync().await?;
        let written = self.package().await?;
        let published = self.publish(&written).await?;
        self.verify(&published).await?;
        self.install(&published, &pushed).await?;
        self.summary.bundles = published;
        Ok(())
    }

    fn step(&mut self, name: &'static str, began: Instant, bytes: u64) {
        self.summary.steps.push(Step { name, took: began.elapsed(), bytes });
    }

    /// The images of all targets, each once.
    fn images(&self) -> Result<Vec<TargetImage>, CliError> {
        let targets: Vec<String> = TARGETS.iter().flatten().map(ToString::to_string).collect();
        let mut seen = BTreeSet::new();
        let images = self.repository.target_images(&targets)?.into_iter();
        Ok(images.filter(|image| seen.insert(image.source.to_string())).collect())
    }

    /// Pushes what developers would, and says which digest each name has.
    async fn push(&mut self) -> Result<BTreeMap<String, Digest>, CliError> {
        self.output.status("push: developers push their images to the source registry");
        let began = Instant::now();
        let developer = Client::new(&self.world.source.host(), ClientOptions::default())?;
        let base = images::Base::make().await?;
        let mut pushed = BTreeMap::new();
        for (number, image) in (0..).zip(self.images()?) {
            let name = image.source.repository().name().to_owned();
            let is_small = !name.starts_with("compass-plugins-");
            let digest = images::push(&developer, &image.source, &base, (number, is_small)).await?;
            pushed.insert(name_of(&image.source), digest);
            let written = image.source.to_string();
            if let Some(before) = written.strip_suffix(BUMPED.0) {
                let next: Reference = format!("{before}{}", BUMPED.1).parse()?;
                images::push(&developer, &next, &base, (number, is_small)).await?;
            }
        }
        self.step("push", began, 0);
        Ok(pushed)
    }

    fn check(&mut self) -> Result<(), CliError> {
        self.output.status("check: the rules judge the release repository");
        let began = Instant::now();
        let report = check(&self.repository.tree, &self.repository.policy);
        if !report.passes() {
            self.output.status(&render::text(&report, self.output.style));
            return Err(CliError::check_failed("the example does not pass its own check"));
        }
        self.step("check", began, 0);
        Ok(())
    }

    async fn sync(&mut self) -> Result<(), CliError> {
        self.output.status("sync: from the source registry to the release registry");
        let began = Instant::now();
        let transfers: Vec<ImageTransfer> = self.images()?.iter().map(ImageTransfer::of).collect();
        let bar = self.output.bar("sync");
        bar.expect_images(transfers.len());
        let options = CopyOptions { progress: bar.shared(), ..self.options.clone() };
        let results = sync::ResultSlots::of(&transfers);
        sync::sync(&results, &self.registries, &options, false).await?;
        bar.done();
        let mut moved = 0;
        for one in results.take() {
            moved += one.result?.bytes();
        }
        self.step("sync", began, moved);
        Ok(())
    }

    async fn package(&mut self) -> Result<Vec<compass_bundle::Written>, CliError> {
        self.output.status("package: from the release registry to bundles");
        let began = Instant::now();
        let mut written = Vec::new();
        let how = package::Options {
            from: None,
            platforms: package::platforms(self.repository, None)?,
            allow_other_platform: false,
            archives: false,
            jobs: self.options.jobs,
        };
        for target in TARGETS {
            let parts = self.repository.package(&target.map(str::to_owned))?;
            let repository = self.repository;
            let plan =
                package::plan(repository, parts, &how, &self.registries, self.output).await?;
            let path = self.folder.path(&plan.plan.file_name());
            written.push(to_file(plan, &path, how.jobs, self.output).await?);
        }
        self.step("package", began, written.iter().map(|one| one.size).sum());
        Ok(written)
    }

    async fn publish(
        &mut self,
        written: &[compass_bundle::Written],
    ) -> Result<Vec<Package>, CliError> {
        self.output.status("publish: to the store");
        let began = Instant::now();
        let store = Store::Directory(self.folder.path("store"));
        let mut published = Vec::new();
        for bundle in written {
            let one = publish::publish(&bundle.path, &store, self.output).await?;
            let path = one.url.strip_prefix("file://").unwrap_or(&one.url).into();
            published.push(Package { path, size: bundle.size, digest: one.digest });
        }
        self.step("publish", began, written.iter().map(|one| one.size).sum());
        Ok(published)
    }

    async fn verify(&mut self, published: &[Package]) -> Result<(), CliError> {
        self.output.status("verify: every byte of what the store has");
        let began = Instant::now();
        for bundle in published {
            let opened = Bundle::open(&bundle.path).await?;
            if !verify::verify(&opened, false, self.output).await?.holds() {
                return Err(CliError::check_failed(format!(
                    "{} is damaged",
                    bundle.path.display()
                )));
            }
        }
        self.step("verify", began, published.iter().map(|one| one.size).sum());
        Ok(())
    }

    /// Pushes the images of all bundles to the site, and compares them with the developers'.
    async fn install(
        &mut self,
        published: &[Package],
        pushed: &BTreeMap<String, Digest>,
    ) -> Result<(), CliError> {
        self.output.status("install: from the bundles to the site's registry");
        let began = Instant::now();
        let place: RegistryPrefix = format!("{}/compass", self.world.site.host()).parse()?;
        let client = Client::new(&place.host, ClientOptions::default())?;
        let (mut installed, mut moved) = (BTreeSet::new(), 0);
        for bundle in published {
            let bundle = Bundle::open(&bundle.path).await?;
            let bar = self.output.bar("install");
            bar.expect_images(bundle.images().len());
            let options = CopyOptions { progress: bar.shared(), ..self.options.clone() };
            for image in compass_bundle::install(&bundle, &client, &place, &options).await? {
                moved += image.copied.bytes;
                installed.insert(image.reference.to_string());
            }
            bar.done();
        }
        self.step("install", began, moved);
        for reference in installed {
            let parsed: Reference = reference.parse()?;
            let at_site =
                client.manifest_digest(parsed.repository(), &parsed.tag_or_digest()).await?;
            let developer = pushed.get(&name_of(&parsed)).copied();
            let (Some(site), Some(developer)) = (at_site, developer) else {
                return Err(CliError::check_failed(format!("{reference} did not arrive")));
            };
            self.summary.images.push(Image { reference, developer, site });
        }
        Ok(())
    }
}

/// What an image is called in every registry.
fn name_of(reference: &Reference) -> String {
    format!("{}:{}", reference.repository().name(), reference.tag_or_digest())
}
