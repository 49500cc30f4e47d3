use std::process::ExitCode;
use std::sync::Arc;

use compass_registry::{Copied, CopyOptions, Platform, Reference, RegistryPlace, copy};
use serde_json::{Value, json};

use crate::cli::Global;
use crate::failure::Failure;
use crate::output::{Output, bytes};
use crate::registries::Registries;
use crate::repository::{Repository, TargetImage};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to copy the images of: `plugin NAME`, `hotfix ADDON-HOTFIXVERSION` or `product
    /// VERSION`, several times if wanted
    #[arg(required = true)]
    target: Vec<String>,
    /// Copies from here, as `HOST[/PROJECT]`, and not from the policy's source registry
    #[arg(long, value_name = "PLACE")]
    from: Option<RegistryPlace>,
    /// Copies to here, as `HOST[/PROJECT]`, and not to the policy's release registry
    #[arg(long, value_name = "PLACE")]
    to: Option<RegistryPlace>,
    /// Copies the image for one platform only; whole image indexes otherwise
    #[arg(long)]
    platform: Option<Platform>,
}

/// An image that was copied.
pub(crate) struct Synced {
    pub(crate) source: Reference,
    pub(crate) release: Reference,
    pub(crate) copied: Copied,
}

pub(crate) async fn run(
    args: &Args,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let repository = Repository::open(global)?;
    let registries = Registries::of(&repository);
    let images = repository.target_images(&args.target)?;
    let places = (args.from.as_ref(), args.to.as_ref());
    let options = CopyOptions {
        platforms: args.platform.clone().into_iter().collect(),
        jobs: global.jobs.into(),
        ..CopyOptions::default()
    };
    let synced = sync(&images, places, &registries, options, output).await?;
    output.result(
        || json!({"images": synced.iter().map(synced_json).collect::<Vec<_>>()}),
        || synced.iter().map(line).collect(),
    );
    Ok(ExitCode::SUCCESS)
}

/// Copies images; a place replaces the policy's.
pub(crate) async fn sync(
    images: &[TargetImage],
    (from, to): (Option<&RegistryPlace>, Option<&RegistryPlace>),
    registries: &Registries,
    options: CopyOptions,
    output: &Output,
) -> Result<Vec<Synced>, Failure> {
    let mut synced = Vec::new();
    for image in images {
        let moved = |written: &Reference, place: Option<&RegistryPlace>| {
            place.map_or_else(|| Ok(written.clone()), |place| image.release.moved_to(place))
        };
        let (source, release) = (moved(&image.source, from)?, moved(&image.release, to)?);
        let reader = registries.client(source.host(), false)?;
        let writer = registries.client(release.host(), false)?;
        let bar = output.bar(release.repository().name());
        let options = CopyOptions { progress: bar.shared(), ..options.clone() };
        let copied = copy(
            Arc::new(reader),
            (source.repository(), &source.locator()),
            &writer,
            (release.repository(), release.tag()),
            &options,
        )
        .await;
        bar.done();
        let copied = copied.map_err(|error| {
            Failure::from(error).while_doing(format!("cannot copy {source} to {release}"))
        })?;
        synced.push(Synced { source, release, copied });
    }
    Ok(synced)
}

fn line(synced: &Synced) -> String {
    let Copied { digest, bytes: moved, .. } = &synced.copied;
    format!("{} {digest} ({} moved)\n", synced.release, bytes(*moved))
}

fn synced_json(synced: &Synced) -> Value {
    json!({
        "source": synced.source.to_string(),
        "release": synced.release.to_string(),
        "digest": synced.copied.digest,
        "blobs": synced.copied.blobs,
        "bytes": synced.copied.bytes,
        "present": synced.copied.present,
    })
}
