//! `compass demo`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use compass_bundle::Bundle;
use compass_bundle::store::DirectoryStore;
use compass_manifest::{Check, render};
use compass_registry::client::{Client, ClientOptions};
use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::DiskStorage;
use compass_registry::{Digest, ImageSink, OnExistingTag, Reference, RegistryPrefix};

use super::publish;
use crate::demo::folder::Folder;
use crate::demo::images::{Base, DemoImage};
use crate::demo::summary::{Image, PublishedBundle, Step, Summary};
use crate::error::{CliError, Result};
use crate::global_args::GlobalArgs;
use crate::image_transfer::transfers_of;
use crate::output::Output;
use crate::package_verification::verify_package;
use crate::packaging::{Options, write_to_file};
use crate::release_steps::ReleaseSteps;
use crate::repository::Repository;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder for the results; replaces that of an earlier demo
    #[arg(long, default_value = "compass-demo", value_name = "DIR")]
    folder: PathBuf,
    /// Only pushes the images, keeps the registries running, and prints the commands to try
    #[arg(long)]
    pub(crate) keep: bool,
}

/// The targets of the demo.
const TARGETS: [[&str; 2]; 4] = [
    ["plugin", "gpu-manager"],
    ["plugin", "log-viewer"],
    ["hotfix", "web-v2.7.0-20180605-p1"],
    ["product", "v2.7.0"],
];

/// Images before and after `compass bump plugin gpu-manager` and `compass bump hotfix web`.
const BUMPED: [(&str, &str); 2] = [
    ("compass-plugins-gpu-manager:v0.1.1", "compass-plugins-gpu-manager:v0.1.2"),
    ("console-web:v2.7.0-20180605-p1", "console-web:v2.7.0-20180605-p2"),
];

/// The ports of the registries with `--keep`, if they are free.
const KEEP_PORTS: [u16; 3] = [5001, 5002, 5003];

/// The registries of the demo, each with its own storage.
struct DemoRegistries {
    source: Server,
    release: Server,
    site: Server,
}

struct Demo<'d> {
    servers: &'d DemoRegistries,
    folder: &'d Folder,
    steps: ReleaseSteps<'d>,
    output: &'d Output,
    summary: Summary,
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let folder = Folder::create(&args.folder)?;
    let servers = DemoRegistries::start(&folder, args.keep).await?;
    let root = folder.write_release(&servers.source.host(), &servers.release.host())?;
    let global = GlobalArgs { repo: Some(root), policy: None, ..*global };
    let repository = Repository::open(&global)?;
    let mut demo = Demo {
        servers: &servers,
        folder: &folder,
        steps: ReleaseSteps::new(&repository, &global, output),
        output,
        summary: Summary { steps: Vec::new(), images: Vec::new(), bundles: Vec::new() },
    };
    if args.keep {
        demo.push().await?;
        output.result(|| servers.to_json(&folder), || servers.to_text(&folder));
        let DemoRegistries { source, release, site } = servers;
        tokio::select! {
            ended = source.stopped() => ended?,
            ended = release.stopped() => ended?,
            ended = site.stopped() => ended?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    demo.run_steps().await?;
    let summary = demo.summary;
    output.result(|| summary.to_json(), || summary.to_text());
    Ok(if summary.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl DemoRegistries {
    async fn start(folder: &Folder, keep: bool) -> Result<Self> {
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
            source: start("source-registry", KEEP_PORTS[0]).await?,
            release: start("release-registry", KEEP_PORTS[1]).await?,
            site: start("site-registry", KEEP_PORTS[2]).await?,
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
             gpu-manager\n  compass package plugin gpu-manager -o ../out\n  compass verify \
             ../out/compass-plugins-gpu-manager-v0.1.2.tar.gz\n  compass publish \
             ../out/compass-plugins-gpu-manager-v0.1.2.tar.gz\n  compass install \
             ../out/compass-plugins-gpu-manager-v0.1.2.tar.gz --registry {}/compass\n",
            self.source.host(),
            self.release.host(),
            self.site.host(),
            folder.path("release").display(),
            self.site.host(),
        )
    }
}

impl Demo<'_> {
    /// Runs all steps.
    async fn run_steps(&mut self) -> Result<()> {
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

    fn add_step(&mut self, name: &'static str, started: Instant, bytes: u64) {
        self.summary.steps.push(Step { name, duration: started.elapsed(), bytes });
    }

    /// The images of all targets in the source registry, each once.
    fn images(&self) -> Result<Vec<Reference>> {
        let transfers = transfers_of(self.steps.repository, &all_targets())?;
        Ok(transfers.into_iter().map(|transfer| transfer.source).collect())
    }

    /// Pushes the images of the developers; returns the digest of each name.
    async fn push(&mut self) -> Result<BTreeMap<String, Digest>> {
        self.output.status("push: developers push their images to the source registry");
        let started = Instant::now();
        let developer = Client::new(&self.servers.source.host(), ClientOptions::default())?;
        let developer: Arc<dyn ImageSink> = Arc::new(developer);
        let base = Base::generate().await?;
        let mut pushed = BTreeMap::new();
        for (number, image) in (0..).zip(self.images()?) {
            let is_small = !image.repository().name().starts_with("compass-plugins-");
            let demo_image = DemoImage { number, is_small };
            let digest = demo_image.push(developer.clone(), &image, &base).await?;
            pushed.insert(name_of(&image), digest);
            let written = image.to_string();
            for (old, new) in BUMPED {
                let Some(before) = written.strip_suffix(old) else { continue };
                let next: Reference = format!("{before}{new}").parse()?;
                demo_image.push(developer.clone(), &next, &base).await?;
            }
        }
        self.add_step("push", started, 0);
        Ok(pushed)
    }

    fn check(&mut self) -> Result<()> {
        self.output.status("check: the rules check the release repository");
        let started = Instant::now();
        let report = Check::new(self.steps.repository.release()).run();
        if !report.passes() {
            self.output.status(&render::text(&report, self.output.style));
            return Err(CliError::check_failed("the rules find errors in the example"));
        }
        self.add_step("check", started, 0);
        Ok(())
    }

    async fn sync(&mut self) -> Result<()> {
        self.output.status("sync: copy images from the source registry to the release registry");
        let started = Instant::now();
        let sums = self.steps.sync(&all_targets(), OnExistingTag::Error, false).await?;
        self.add_step("sync", started, sums.bytes);
        Ok(())
    }

    async fn package(&mut self) -> Result<Vec<compass_bundle::Written>> {
        self.output.status("package: build bundles from the release registry");
        let started = Instant::now();
        let mut written = Vec::new();
        let repository = self.steps.repository;
        let options = Options::new(repository, self.steps.global.write_jobs())?;
        for target in TARGETS {
            let release = repository.release_contents(&target.map(str::to_owned))?;
            let bundle = self.steps.plan(release, &options).await?;
            let path = self.folder.path(&bundle.plan.file_name());
            written.push(write_to_file(bundle, &path, options.jobs, self.output).await?);
        }
        self.add_step("package", started, written.iter().map(|one| one.size).sum());
        Ok(written)
    }

    async fn publish(
        &mut self,
        written: &[compass_bundle::Written],
    ) -> Result<Vec<PublishedBundle>> {
        self.output.status("publish: upload the bundles to the store");
        let started = Instant::now();
        let store = DirectoryStore::new(self.folder.path("store"));
        let mut published = Vec::new();
        for bundle in written {
            let one = publish::publish(&bundle.path, &store, self.output).await?;
            let path = one.url.strip_prefix("file://").unwrap_or(&one.url).into();
            published.push(PublishedBundle { path, size: bundle.size, digest: one.digest });
        }
        self.add_step("publish", started, written.iter().map(|one| one.size).sum());
        Ok(published)
    }

    async fn verify(&mut self, published: &[PublishedBundle]) -> Result<()> {
        self.output.status("verify: verify every byte of the published bundles");
        let started = Instant::now();
        for bundle in published {
            let opened = Bundle::open(&bundle.path).await?;
            if !verify_package(&opened.into(), false, self.output).await?.is_ok() {
                return Err(CliError::check_failed(format!(
                    "{} is damaged",
                    bundle.path.display()
                )));
            }
        }
        self.add_step("verify", started, published.iter().map(|one| one.size).sum());
        Ok(())
    }

    /// Installs all bundles at the site, and compares the digests with those of the developers.
    async fn install(
        &mut self,
        published: &[PublishedBundle],
        pushed: &BTreeMap<String, Digest>,
    ) -> Result<()> {
        self.output.status("install: push the images of the bundles to the site's registry");
        let started = Instant::now();
        let place: RegistryPrefix = format!("{}/compass", self.servers.site.host()).parse()?;
        let client = Arc::new(Client::new(&place.host, ClientOptions::default())?);
        let (mut installed, mut copied) = (BTreeSet::new(), 0);
        for bundle in published {
            let bundle = Bundle::open(&bundle.path).await?;
            let progress = self.output.progress("install");
            progress.expect_images(bundle.images().len());
            let options = self.steps.global.copy_options(progress.shared());
            for image in
                compass_bundle::install(&bundle.into(), client.clone(), &place, &options).await?
            {
                copied += image.copied.bytes;
                installed.insert(image.reference.to_string());
            }
        }
        self.add_step("install", started, copied);
        for reference in installed {
            let parsed: Reference = reference.parse()?;
            let at_site =
                client.manifest_digest(parsed.repository(), &parsed.tag_or_digest()).await?;
            let developer = pushed.get(&name_of(&parsed)).copied();
            let (Some(site), Some(developer)) = (at_site, developer) else {
                return Err(CliError::check_failed(format!("{reference} is missing at the site")));
            };
            self.summary.images.push(Image { reference, developer, site });
        }
        Ok(())
    }
}

fn all_targets() -> Vec<String> {
    TARGETS.iter().flatten().map(ToString::to_string).collect()
}

/// The name of an image that is the same in all registries.
fn name_of(reference: &Reference) -> String {
    format!("{}:{}", reference.repository().name(), reference.tag_or_digest())
}
