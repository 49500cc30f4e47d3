//! Checks before anything is pushed.

use std::collections::BTreeSet;

use compass_bundle::plan_install;
use compass_manifest::version::{ProductRequirement, ProductVersion};
use compass_manifest::yaml;
use compass_registry::CopyOptions;
use futures_util::future::join;

use super::installation::{Identity, ImageOutcome, Installation, Site};
use super::trial_uploads::{TrialUploads, reporting_sink};
use super::{Args, refused};
use crate::error::{CliError, Result};
use crate::existing_tag;
use crate::site::manifests::RenderedFile;

/// The planned copies of the images of one package, and its rendered files.
pub(super) struct Plan {
    pub(super) images: Vec<ImageOutcome>,
    pub(super) files: Vec<RenderedFile>,
    /// The requirement of a plugin that was not compared, because the product version is unknown.
    pub(super) unchecked_requirement: Option<String>,
}

/// The `compassRequirement` of a plugin, and its place in the manifest.
struct Requirement {
    location: String,
    required: ProductRequirement,
}

/// Refuses two packages of the same plugin, addon or product.
pub(super) fn refuse_duplicates(installations: &[Installation]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for Installation { identity: Identity { kind, name, .. }, .. } in installations {
        if !seen.insert((kind, name)) {
            return Err(CliError::usage(format!("two packages are of the {kind} {name}"))
                .hint("install one after the other"));
        }
    }
    Ok(())
}

/// Finds all problems of the installations, and plans their images.
///
/// # Errors
/// One error with all problems. An unreachable registry is an error of its own.
pub(super) async fn check(
    installations: &[Installation],
    args: &Args,
    trials: &mut TrialUploads<'_>,
    options: &CopyOptions,
) -> Result<Vec<Plan>> {
    let site = trials.site;
    let product = product_version(installations, args, site)?;
    let (mut plans, mut problems) = (Vec::new(), Vec::new());
    for installation in installations {
        let files = render(installation, site, &mut problems)?;
        check_writable(installation, &files, args, site).await?;
        let requirement = requirement_of(installation)?;
        let unchecked_requirement = match (&requirement, &product) {
            (Some(requirement), Some(product)) => {
                problems.extend(requirement.unmet_by(product));
                None
            }
            (requirement, _) => requirement.as_ref().map(Requirement::describe_unchecked),
        };
        let images = plan_images(installation, args, options, trials).await?;
        problems.extend(images.iter().filter_map(|image| image.result.as_ref().err()).cloned());
        plans.push(Plan { images, files, unchecked_requirement });
    }
    if problems.is_empty() {
        return Ok(plans);
    }
    let names: Vec<_> = installations.iter().map(|one| one.shown.as_str()).collect();
    Err(refused(&names.join(", "), problems))
}

/// Renders the files to hand over. Adds what makes that impossible to `problems`.
fn render(
    installation: &Installation,
    site: &Site,
    problems: &mut Vec<CliError>,
) -> Result<Vec<RenderedFile>> {
    let Installation { manifests, values, .. } = installation;
    if site.hand_over.is_none() {
        return Ok(Vec::new());
    }
    let unset = manifests.unset_variables(values)?;
    if !unset.is_empty() {
        problems.extend(unset);
        return Ok(Vec::new());
    }
    let rendered = manifests.render(values, &site.registry, &site.policy);
    Ok(rendered.unwrap_or_else(|problem| {
        problems.push(problem);
        Vec::new()
    }))
}

/// Checks that the hand-over accepts the files, and that the receipt can be written.
async fn check_writable(
    installation: &Installation,
    files: &[RenderedFile],
    args: &Args,
    site: &Site,
) -> Result<()> {
    let release = installation.identity.release();
    if let Some(hand_over) = &site.hand_over {
        hand_over.check(release, files).await?;
    }
    if args.dry_run {
        return Ok(());
    }
    let texts = files.iter().map(|file| file.public.len() as u64).sum::<u64>();
    let images = installation.package.images().len() as u64;
    let size = 2 * texts + RECEIPT_SIZE + images * RECEIPT_IMAGE_SIZE;
    site.receipts.check(release.kind, release.name, size)
}

/// More than the size in bytes of a receipt, without its images and files. Escapes may double the
/// latter.
const RECEIPT_SIZE: u64 = 16 << 10;

/// More than the size in bytes of an image in a receipt.
const RECEIPT_IMAGE_SIZE: u64 = 1 << 10;

/// Plans the images of one package. Opens a trial upload meanwhile if an image is missing.
async fn plan_images(
    installation: &Installation,
    args: &Args,
    options: &CopyOptions,
    trials: &mut TrialUploads<'_>,
) -> Result<Vec<ImageOutcome>> {
    let site = trials.site;
    let (sink, missing) = reporting_sink(&site.sink);
    let plan = plan_install(&installation.package, sink, &site.registry, options);
    let (planned, opened) = match args.dry_run {
        true => (plan.await, Ok(())),
        false => join(plan, trials.open_all(missing)).await,
    };
    let planned = planned
        .map_err(existing_tag::bundle_error)
        .map_err(|error| error.context(format!("cannot install {}", installation.shown)))?;
    let images = ImageOutcome::all(planned);
    for image in &images {
        if let Err(error) = &image.result
            && error.exit == CliError::EXTERNAL
        {
            return Err(error.clone().context(format!("cannot install {}", image.reference)));
        }
    }
    opened?;
    for image in images.iter().filter(|image| !args.dry_run && is_needed(image)) {
        trials.open(image.reference.repository()).await?;
    }
    Ok(images)
}

/// Whether an image is written to the registry.
fn is_needed(image: &ImageOutcome) -> bool {
    let report = image.result.as_ref();
    report.is_ok_and(|report| !report.already_present && report.not_copied.is_none())
}

/// Returns the product version at the site, from the arguments, a product that is installed now, or
/// the receipts.
fn product_version(
    installations: &[Installation],
    args: &Args,
    site: &Site,
) -> Result<Option<ProductVersion>> {
    let parse = |text: &str| {
        text.parse().map_err(|error| CliError::usage(format!("`--product-version`: {error}")))
    };
    if let Some(version) = &args.product_version {
        return parse(version).map(Some);
    }
    let own = installations.iter().find(|one| one.identity.kind == "product");
    if let Some(own) = own {
        return Ok(own.identity.version.parse().ok());
    }
    let products = site.receipts.products()?;
    Ok(products.first().and_then(|receipt| receipt.version.parse().ok()))
}

/// Returns the product version that a plugin requires, if the plugin names one.
fn requirement_of(installation: &Installation) -> Result<Option<Requirement>> {
    let ("plugin", [file]) = (&*installation.identity.kind, &*installation.manifests.files) else {
        return Ok(None);
    };
    let Ok(root) = yaml::parse(file.text()) else { return Ok(None) };
    let Some(node) = root.at(&["spec", "compassRequirement"]) else { return Ok(None) };
    let Some(text) = node.text().filter(|_| !node.is_null()) else { return Ok(None) };
    let location = format!("{}:{}", file.path(), file.position(node.span.start).line);
    let parsed = text.parse();
    let required =
        parsed.map_err(|error| CliError::check_failed(format!("{location}: {error}")))?;
    Ok(Some(Requirement { location, required }))
}

impl Requirement {
    /// Returns a problem if the product has another version.
    fn unmet_by(&self, product: &ProductVersion) -> Option<CliError> {
        let Self { location, required } = self;
        let problem = || {
            CliError::check_failed(format!(
                "{location}: the plugin requires product version {required}, and the site has {product}"
            ))
            .hint(
                "update the product first; if the site has another version, name it with \
                 `--product-version VERSION`",
            )
        };
        (!required.accepts(product)).then(problem)
    }

    fn describe_unchecked(&self) -> String {
        let Self { location, required } = self;
        format!(
            "{location}: the plugin requires product version {required}, but no receipt names the \
             product at this site: check it, or name the version with `--product-version VERSION`"
        )
    }
}
