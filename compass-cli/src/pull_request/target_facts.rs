//! Asks the registries and the store about the targets of a pull request.

use compass_bundle::BundleDocument;
use compass_bundle::store::{Store, open_store, store_path};
use compass_manifest::review::{Evidence, ReleaseImage, Statement};
use compass_registry::client::Client;
use compass_registry::{Digest, ImageSource as _, Reference};
use futures_util::{StreamExt as _, stream};

use super::{ReleaseSource, ReleaseTarget, Reviewer, holds};
use crate::error::{CliError, Result};
use crate::package_verification::verify_package;
use crate::packaging::{self, Options};
use crate::registries::Registries;
use crate::release_contents::ReleaseContents;
use crate::release_steps::{PublishedBundle, find_bundle, is_same_release};
use crate::repository::TargetImage;

/// The state of a target in the registries and the store.
#[derive(Debug)]
pub(crate) struct TargetFacts {
    pub(crate) target: ReleaseTarget,
    /// `None` if the manifest has no valid version.
    pub(crate) version: Option<String>,
    pub(crate) images: Vec<ImageFacts>,
    pub(crate) bundle: BundleFacts,
    /// The reason why the target cannot be released as it is.
    pub(crate) error: Option<CliError>,
}

/// The state of an image in both registries.
#[derive(Debug)]
pub(crate) struct ImageFacts {
    pub(crate) source: Reference,
    pub(crate) release: Reference,
    pub(crate) in_source: Evidence,
    pub(crate) in_release: Evidence,
    pub(crate) digest: Option<Digest>,
}

/// The state of the bundle of a target in the store.
#[derive(Debug)]
pub(crate) struct BundleFacts {
    /// The URL in the store; `None` if it cannot be computed yet.
    pub(crate) url: Option<String>,
    pub(crate) size: Option<u64>,
    pub(crate) digest: Option<Digest>,
    pub(crate) published: Evidence,
    /// Whether the `.sha256` is in the store, which `package --no-sha256` omits.
    pub(crate) has_checksum: bool,
}

/// The number of images that are asked for at once.
const JOBS: usize = 8;

/// Asks the registries and the store about targets.
pub(super) async fn look_up(
    source: &ReleaseSource,
    targets: &[ReleaseTarget],
    reviewer: &Reviewer,
) -> Result<Vec<TargetFacts>> {
    let registries = Registries::new(&source.repository, &reviewer.global).interactive();
    let mut facts = Vec::new();
    for target in targets {
        facts.push(match source.repository.release_contents(&target.arguments()) {
            Ok(contents) => look_up_one(source, target, contents, &registries, reviewer).await?,
            Err(error) => TargetFacts {
                target: target.clone(),
                version: None,
                images: Vec::new(),
                bundle: BundleFacts::unknown(Statement::NotReleasable),
                error: Some(error),
            },
        });
    }
    Ok(facts)
}

async fn look_up_one(
    source: &ReleaseSource,
    target: &ReleaseTarget,
    contents: ReleaseContents,
    registries: &Registries,
    reviewer: &Reviewer,
) -> Result<TargetFacts> {
    let asked = contents.images.iter().map(|image| image_facts(image, registries));
    let images: Vec<ImageFacts> = stream::iter(asked).buffered(JOBS).collect().await;
    let version = Some(contents.version.clone());
    let is_complete = images.iter().all(|image| holds(&image.in_release));
    let bundle = if is_complete {
        match bundle_facts(source, contents, registries, reviewer).await {
            Ok(facts) => facts,
            Err(error) => BundleFacts::unknown(one_line(&error).into()),
        }
    } else {
        BundleFacts::unknown(Statement::NotSynced)
    };
    Ok(TargetFacts { target: target.clone(), version, images, bundle, error: None })
}

/// Asks both registries about an image, and compares the digests.
async fn image_facts(image: &TargetImage, registries: &Registries) -> ImageFacts {
    let (source, release) = (image.source.clone(), image.release.clone());
    let in_source = digest_of(&source, registries).await;
    let in_release = digest_of(&release, registries).await;
    let digest = in_release.as_ref().ok().copied().flatten();
    let release_evidence = match (&in_source, &in_release) {
        (_, Err(reason)) => Evidence::Unknown(reason.as_str().into()),
        (_, Ok(None)) => Evidence::No(Statement::NoTag),
        (Ok(Some(expected)), Ok(Some(found))) if expected == found => Evidence::Yes,
        (Ok(Some(expected)), Ok(Some(found))) => {
            let (found, expected) = (found.to_string(), expected.to_string());
            Evidence::No(Statement::OtherDigest { found, expected })
        }
        (Ok(None), Ok(Some(_))) => Evidence::No(Statement::NotInSource),
        (Err(reason), Ok(Some(_))) => Evidence::Unknown(Statement::SourceNotKnown(reason.clone())),
    };
    let source_evidence = match in_source {
        Ok(Some(_)) => Evidence::Yes,
        Ok(None) => Evidence::No(Statement::NoTag),
        Err(reason) => Evidence::Unknown(reason.into()),
    };
    ImageFacts { source, release, in_source: source_evidence, in_release: release_evidence, digest }
}

/// Asks a registry for the digest of an image; `Ok(None)` if the registry does not have it.
async fn digest_of(
    reference: &Reference,
    registries: &Registries,
) -> std::result::Result<Option<Digest>, String> {
    let client: Client =
        registries.client(reference.host(), false).map_err(|error| one_line(&error))?;
    match client.resolve(reference.repository(), &reference.tag_or_digest()).await {
        Ok(digest) => Ok(Some(digest)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(one_line(&error.into())),
    }
}

/// Plans the bundle, and compares it with the one in the store.
async fn bundle_facts(
    source: &ReleaseSource,
    contents: ReleaseContents,
    registries: &Registries,
    reviewer: &Reviewer,
) -> Result<BundleFacts> {
    let repository = &source.repository;
    let options = Options::new(repository, JOBS)?;
    let output = reviewer.output.silenced();
    let planned = packaging::plan(repository, contents, &options, registries, &output).await?;
    let plan = planned.plan;
    let Some(url) = &repository.policy.store else {
        return Ok(BundleFacts::unknown(Statement::NoStore));
    };
    let store = open_store(url, &reviewer.global.store_options())?;
    let address = address(&*store, plan.document())?;
    let found = find_bundle(&*store, plan.document(), &reviewer.global.retry_policy()).await;
    let has_checksum =
        matches!(&found, Ok(Some(PublishedBundle { stored, .. })) if stored.digest.is_some());
    let published = match found {
        Ok(Some(found)) => compare(found, plan.document(), reviewer).await,
        Ok(None) => Evidence::No(Statement::NoPackage(address.clone())),
        Err(error) => Evidence::Unknown(one_line(&error).into()),
    };
    let (url, size, digest) = (Some(address), Some(plan.size()), Some(plan.digest()));
    Ok(BundleFacts { url, size, digest, published, has_checksum })
}

/// The URL of a bundle in a store.
fn address(store: &dyn Store, document: &BundleDocument) -> Result<String> {
    let path = store_path(document)?;
    Ok(format!("{}/{}", store.url().trim_end_matches('/'), path.display()))
}

/// Whether a bundle of the store is valid and has the planned content. Reads all layers of one
/// without a checksum, because `publish` writes the checksum after it has read the bundle back.
async fn compare(
    found: PublishedBundle,
    planned: &BundleDocument,
    reviewer: &Reviewer,
) -> Evidence {
    let has_checksum = found.stored.digest.is_some();
    let url = found.stored.url;
    let bundle = match found.bundle {
        Ok(bundle) => bundle,
        Err(reason) => return Evidence::No(Statement::InvalidPackage { url, reason }),
    };
    if !is_same_release(bundle.document(), planned) {
        return Evidence::No(Statement::OtherContent(url));
    }
    match verify_package(&bundle.into(), has_checksum, &reviewer.output.silenced()).await {
        Ok(report) if report.is_ok() => Evidence::Yes,
        Ok(_) => Evidence::No(Statement::DamagedPackage(url)),
        Err(error) => Evidence::Unknown(one_line(&error).into()),
    }
}

impl BundleFacts {
    fn unknown(reason: Statement) -> Self {
        let published = Evidence::Unknown(reason);
        Self { url: None, size: None, digest: None, published, has_checksum: false }
    }
}

/// The message of an error with its causes.
fn one_line(error: &CliError) -> String {
    let mut parts = vec![error.message.clone()];
    parts.extend(error.causes.iter().cloned());
    parts.join(": ").replace('\n', " ")
}

/// The images for an evaluation; `None` if those of a target are not known.
pub(super) fn images(targets: &[TargetFacts]) -> Option<Vec<ReleaseImage>> {
    if targets.is_empty() || targets.iter().any(|target| target.error.is_some()) {
        return None;
    }
    let images = targets.iter().flat_map(|target| &target.images).map(|facts| {
        let source = facts.source.to_string().parse().ok()?;
        let mut image = ReleaseImage::new(source, facts.release.to_string().parse().ok()?);
        image.in_source = facts.in_source.clone();
        image.in_release = facts.in_release.clone();
        Some(image)
    });
    images.collect()
}

/// Whether all bundles are published. One that is not decides over one that is not known.
pub(super) fn bundle(targets: &[TargetFacts]) -> Evidence {
    if targets.is_empty() {
        return Evidence::No(Statement::ReleasesNothing);
    }
    let evidence = || targets.iter().map(|target| &target.bundle.published);
    let missing = evidence().find(|evidence| matches!(evidence, Evidence::No(_)));
    let other = evidence().find(|evidence| !holds(evidence));
    missing.or(other).cloned().unwrap_or(Evidence::Yes)
}
