use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use compass_bundle::Bundle;
use compass_bundle::store::Store;
use compass_manifest::{check, render};
use compass_registry::client::{Client, ClientOptions};
use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::DiskStorage;
use compass_registry::{CopyOptions, Digest, ImageSink as _, Reference, RegistryPlace};

use super::package::destination::to_file;
use super::sync::{self, Route};
use super::{package, publish, verify};
use crate::cli::Global;
use crate::demo::folder::Folder;
use crate::demo::images;
use crate::demo::summary::{Image, Package, Step, Summary};
use crate::failure::Failure;
use crate::output::Output;
use crate::registries::Registries;
use crate::repository::{Plugin, Repository};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the results are left; an earlier demo there is removed
    #[arg(long, default_value = "compass-demo", value_name = "DIR")]
    folder: PathBuf,
}

/// The registries of the demo, each with its own storage.
struct World {
    source: Server,
    release: Server,
    site: Server,
}

pub(crate) async fn run(
    args: &Args,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let folder = Folder::start_over(&args.folder)?;
    let global = Global { repo: Some(folder.path("release")), policy: None, ..*global };
    let repository = Repository::open(&global)?;
    let plugins = repository.all_plugins()?;
    let start = async |name: &str| {
        let storage = DiskStorage::new(folder.path(name));
        Server::start(storage, "127.0.0.1:0", ServerOptions::default()).await
    };
    let world = World {
        source: start("source-registry").await?,
        release: start("release-registry").await?,
        site: start("site-registry").await?,
    };
    let mut summary = Summary { steps: Vec::new(), images: Vec::new(), bundles: Vec::new() };
    take(&world, &folder, &repository, &plugins, &global, output, &mut summary).await?;
    output.result(|| summary.to_json(), || summary.to_text());
    Ok(if summary.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes the whole road, step by step.
async fn take(
    world: &World,
    folder: &Folder,
    repository: &Repository,
    plugins: &[Plugin],
    global: &Global,
    output: &Output,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let registries = Registries::without_policy(global);
    let place = |server: &Server, project: &str| {
        format!("{}/{project}", server.host()).parse::<RegistryPlace>()
    };
    let source = place(&world.source, "caicloud")?;
    let release = place(&world.release, "release")?;
    let site = place(&world.site, "compass")?;

    output.note("push: a developer pushes the images to the source registry");
    let began = Instant::now();
    let developer = Client::new(&source.host, ClientOptions::default())?;
    let mut pushed = Vec::new();
    for (number, image) in (0..).zip(plugins.iter().flat_map(|plugin| &plugin.images)) {
        let reference = image.release.moved_to(&source)?;
        pushed.push(images::push(&developer, &reference, number).await?);
    }
    summary.steps.push(Step { name: "push", took: began.elapsed(), bytes: 0 });

    output.note("check: the rules judge the release repository");
    let began = Instant::now();
    let report = check(&repository.tree, &repository.policy);
    if !report.passes() {
        output.note(&render::text(&report, output.style));
        return Err(Failure::not_right("the example does not pass its own check"));
    }
    summary.steps.push(Step { name: "check", took: began.elapsed(), bytes: 0 });

    output.note("sync: from the source registry to the release registry");
    let began = Instant::now();
    let options = CopyOptions { jobs: global.jobs.into(), ..CopyOptions::default() };
    let places = (Some(&source), Some(&release));
    let routes = plugins.iter().flat_map(|plugin| &plugin.images).map(Route::of);
    let routes = sync::moved(routes.collect(), places)?;
    let bar = output.bar("sync");
    let syncing = CopyOptions { progress: bar.shared(), ..options.clone() };
    let results = sync::Results::of(&routes);
    sync::sync(&results, &registries, &syncing, false).await?;
    let synced = results.take();
    bar.done();
    let mut moved = 0;
    for one in synced {
        moved += one.result?.bytes();
    }
    summary.steps.push(Step { name: "sync", took: began.elapsed(), bytes: moved });

    output.note("package: from the release registry to bundles");
    let began = Instant::now();
    let how = package::Options {
        from: Some(&release),
        platforms: package::platforms(repository, None)?,
        allow_other_platform: false,
        archives: false,
        jobs: global.jobs.into(),
    };
    let mut written = Vec::new();
    for plugin in plugins {
        let parts = repository.plugin_package(plugin)?;
        let plan = package::plan(repository, parts, &how, &registries, output).await?;
        let path = folder.path(&plan.plan.file_name());
        written.push(to_file(plan, &path, how.jobs, output).await?);
    }
    let size = written.iter().map(|one| one.size).sum();
    summary.steps.push(Step { name: "package", took: began.elapsed(), bytes: size });

    output.note("publish: to the store");
    let began = Instant::now();
    let mut published = Vec::new();
    for bundle in &written {
        let one =
            publish::publish(&bundle.path, &Store::Directory(folder.path("store")), output).await?;
        let path = one.url.strip_prefix("file://").unwrap_or(&one.url).into();
        published.push(Package { path, size: bundle.size, digest: one.digest });
    }
    summary.steps.push(Step { name: "publish", took: began.elapsed(), bytes: size });

    output.note("verify: every bit of what the store has");
    let began = Instant::now();
    for bundle in &published {
        if !verify::verify(&Bundle::open(&bundle.path).await?, false, output).await?.holds() {
            return Err(Failure::not_right(format!("{} is damaged", bundle.path.display())));
        }
    }
    summary.steps.push(Step { name: "verify", took: began.elapsed(), bytes: size });

    output.note("install: from the bundles to the site's registry");
    let began = Instant::now();
    let client = Client::new(&site.host, ClientOptions::default())?;
    let mut installed = Vec::new();
    for bundle in &published {
        let bundle = Bundle::open(&bundle.path).await?;
        let bar = output.bar("install");
        let options = CopyOptions { progress: bar.shared(), ..options.clone() };
        installed.extend(compass_bundle::install(&bundle, &client, &site, &options).await?);
        bar.done();
    }
    let moved = installed.iter().map(|one| one.copied.bytes).sum();
    summary.steps.push(Step { name: "install", took: began.elapsed(), bytes: moved });

    for (image, developer) in installed.iter().zip(pushed) {
        summary.images.push(arrived(&client, &image.reference, developer).await?);
    }
    summary.bundles = published;
    Ok(())
}

/// An image as the site has it.
async fn arrived(
    client: &Client,
    reference: &Reference,
    developer: Digest,
) -> Result<Image, Failure> {
    let at_site = client.manifest_digest(reference.repository(), &reference.locator()).await?;
    let gone = || Failure::not_right(format!("{reference} did not arrive"));
    Ok(Image { reference: reference.to_string(), developer, site: at_site.ok_or_else(gone)? })
}
