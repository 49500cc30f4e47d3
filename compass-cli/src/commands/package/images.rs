//! The images of a package, each for the platform that is wanted, or an error.

use std::sync::Arc;

use compass_bundle::{ArchiveImage, Error, Platforms};
use compass_registry::client::Client;
use compass_registry::{
    CachingSource, Error as RegistryError, ImageSource, ImageSourceExt as _, Platform, Reference,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Options;
use crate::error::CliError;
use crate::output::Output;
use crate::registries::Registries;

/// The images of a package, and the source that they are read from.
pub(super) struct ResolvedImages {
    pub(super) source: Arc<dyn ImageSource>,
    pub(super) images: Vec<ArchiveImage>,
}

/// Asks the registry what images consist of. They are named by their release references.
pub(super) async fn resolve(
    releases: &[Reference],
    options: &Options<'_>,
    registries: &Registries,
    output: &Output,
) -> Result<ResolvedImages, CliError> {
    let place = |release: &Reference| match options.from {
        Some(place) => release.rebase(place),
        None => Ok(release.clone()),
    };
    let places = releases.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    let client = one_client(&places, registries)?;
    // Configurations are read for the plan, and once more for the bundle.
    let source: Arc<dyn ImageSource> = Arc::new(CachingSource::new(Arc::new(client)));
    let wanted = Wanted { source: &*source, options };
    let gathering =
        places.iter().zip(releases).map(|(place, release)| wanted.resolve(place, release));
    let gathering = stream::iter(gathering).buffered(options.jobs.max(1));
    let found: Vec<_> = gathering.try_collect().await?;
    for warning in found.iter().flat_map(|(_, warnings)| warnings) {
        output.warn(warning);
    }
    Ok(ResolvedImages { images: found.into_iter().map(|(image, _)| image).collect(), source })
}

/// The client of the only registry that images are read from.
fn one_client(places: &[Reference], registries: &Registries) -> Result<Client, CliError> {
    let Some(host) = places.first().map(Reference::host) else {
        return Err(CliError::check_failed("the package has no image"));
    };
    if let Some(other) = places.iter().find(|place| place.host() != host) {
        let message = format!("{other} is not in {host}, as the first image is");
        return Err(CliError::usage(message).hint("name one registry with `--from`"));
    }
    let client = registries.client(host, false)?;
    client.prefetch_pull_tokens(places.iter().map(Reference::repository));
    Ok(client)
}

/// How each image is gathered.
struct Wanted<'w> {
    source: &'w dyn ImageSource,
    options: &'w Options<'w>,
}

impl Wanted<'_> {
    /// One image, and what a person should know of it.
    async fn resolve(
        &self,
        place: &Reference,
        release: &Reference,
    ) -> Result<(ArchiveImage, Vec<String>), CliError> {
        let failed = |failure: CliError| failure.context(format!("cannot package {place}"));
        let found = self.image(place, release).await.map_err(|error| failed(error.into()))?;
        let (image, is_other) = found;
        let offered = image.offered(self.source).await.map_err(|error| failed(error.into()))?;
        let lacking = self.options.platforms.lacking(&offered);
        let warnings = match lacking.is_empty() {
            true => Vec::new(),
            false => {
                let is_listed = match is_other {
                    true => Ok(false),
                    false => self.is_listed(place, &image).await,
                };
                let is_listed = is_listed.map_err(|error| failed(error.into()))?;
                if !is_listed && !self.options.allow_other_platform {
                    return Err(failed(not_for(release, &lacking, &offered)));
                }
                other_platform(release, &lacking, is_listed.then_some(&offered))
            }
        };
        let unavailable = image.unavailable.iter().map(|layer| {
            format!(
                "{release}: its non-distributable layer {layer} is not in the registry, and the \
                 package is without it"
            )
        });
        let warnings = warnings.into_iter().chain(unavailable).collect();
        Ok((image, warnings))
    }

    /// Whether an image was taken from an index, which listed it for the wanted platform.
    async fn is_listed(&self, place: &Reference, image: &ArchiveImage) -> Result<bool, Error> {
        if !matches!(self.options.platforms, Platforms::One(_)) {
            return Ok(false);
        }
        let named =
            self.source.verified_manifest(place.repository(), &place.tag_or_digest()).await?;
        Ok(named.digest() != image.root.digest())
    }

    /// The image for the wanted platform; if that is allowed, the only one of its index for another
    /// platform, and then the second value is true.
    async fn image(
        &self,
        place: &Reference,
        release: &Reference,
    ) -> Result<(ArchiveImage, bool), Error> {
        let platforms = &self.options.platforms;
        match self.image_for(place, release, platforms).await {
            Err(error) if self.options.allow_other_platform && lacks_platform(&error) => {
                match self.only_platform(place).await? {
                    Some(other) => {
                        let other = Platforms::One(other);
                        Ok((self.image_for(place, release, &other).await?, true))
                    }
                    None => Err(error),
                }
            }
            image => Ok((image?, false)),
        }
    }

    async fn image_for(
        &self,
        place: &Reference,
        release: &Reference,
        platforms: &Platforms,
    ) -> Result<ArchiveImage, Error> {
        let from = (place.repository(), &place.tag_or_digest());
        let mut image = ArchiveImage::gather(self.source, from, release.clone(), platforms).await?;
        image.ask_platform(self.source, platforms).await?;
        Ok(image)
    }

    /// The platform of an index that has an image for one only.
    async fn only_platform(&self, place: &Reference) -> Result<Option<Platform>, Error> {
        let repository = place.repository();
        let index = self.source.verified_manifest(repository, &place.tag_or_digest()).await?;
        let images = self.source.images_of(repository, &index).await?;
        let mut platforms: Vec<_> = images.into_iter().filter_map(|image| image.platform).collect();
        platforms.dedup();
        Ok(platforms.pop().filter(|_| platforms.is_empty()))
    }
}

/// An image for other platforms than the wanted ones.
fn not_for(release: &Reference, lacking: &[Platform], offered: &[Platform]) -> CliError {
    let (lacking, offered) = (list(lacking), list(offered));
    CliError::usage(format!("{release} is not for {lacking}; it is for {offered}")).hint(
        "choose one of its platforms with `--platform`, or package it all the same with \
         `--allow-other-platform`",
    )
}

/// Warnings of an image that is taken although it is for other platforms. If its index lists it for
/// the wanted one, its configuration is wrong, or the index is.
fn other_platform(
    release: &Reference,
    lacking: &[Platform],
    configured: Option<&Vec<Platform>>,
) -> Vec<String> {
    let warning = |lacked: &Platform| match configured {
        Some(configured) => format!(
            "{release}: its index lists it for {lacked}, and its configuration for {}",
            list(configured)
        ),
        None => format!("{release} is not for {lacked}"),
    };
    lacking.iter().map(warning).collect()
}

fn list(platforms: &[Platform]) -> String {
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}

fn lacks_platform(error: &Error) -> bool {
    let Error::Registry(error) = error else { return false };
    match error {
        RegistryError::Image { source, .. } => {
            matches!(**source, RegistryError::NoSuchPlatform { .. })
        }
        other => matches!(other, RegistryError::NoSuchPlatform { .. }),
    }
}
