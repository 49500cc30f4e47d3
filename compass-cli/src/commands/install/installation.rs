//! The installation of one package.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use compass_bundle::store::redact_url;
use compass_bundle::{Bundle, ImageInstallation, Package, install_each};
use compass_manifest::Policy;
use compass_registry::client::Client;
use compass_registry::{
    CachingSink, CopyOptions, CopyReport, ImageSink, Reference, RegistryPrefix,
};

use super::Args;
use crate::error::{CliError, Result};
use crate::existing_tag;
use crate::global_args::GlobalArgs;
use crate::image_usage::open;
use crate::output::Output;
use crate::package_verification::{check_damage, is_mismatch};
use crate::registries::Registries;
use crate::repository::Repository;
use crate::site::hand_over::{HandOver, Release};
use crate::site::manifests::{Manifests, RenderedFile};
use crate::site::receipts::{Receipt, ReceiptFile, ReceiptImage, Receipts};
use crate::site::values::Values;

/// How long the images stage uses what the preflight found out about blobs of the registry.
const LOOKUP_MAX_AGE: Duration = Duration::from_secs(30);

/// The registry, the policy and the options that all installations of one command share.
pub(super) struct Site {
    pub(super) registry: RegistryPrefix,
    pub(super) client: Client,
    /// Writes to the registry. It remembers which blobs the preflight found there.
    pub(super) sink: Arc<dyn ImageSink>,
    pub(super) policy: Arc<Policy>,
    pub(super) receipts: Receipts,
    pub(super) hand_over: Option<HandOver>,
}

impl Site {
    pub(super) fn open(args: &Args, global: &GlobalArgs) -> Result<Self> {
        let repository = Repository::at_site(global)?;
        let registries = Registries::new(&repository, global);
        let client = registries.client(&args.registry.host, args.plain_http)?;
        Ok(Self {
            registry: args.registry.clone(),
            sink: Arc::new(CachingSink::new(Arc::new(client.clone()), LOOKUP_MAX_AGE)),
            client,
            policy: repository.policy,
            receipts: Receipts::new(args.receipts.as_deref())?,
            hand_over: HandOver::of(&args.hand_over)?,
        })
    }
}

/// The kind, the name and the version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) version: String,
}

impl Identity {
    fn of(package: &Package, address: &str) -> Self {
        match package.as_bundle() {
            Some(bundle) => {
                let document = bundle.document();
                Self {
                    kind: document.kind.as_str().to_owned(),
                    name: document.name.clone(),
                    version: document.version.clone(),
                }
            }
            None => {
                let file = address.split(['?', '#']).next().unwrap_or_default();
                let file = file.rsplit('/').next().unwrap_or_default();
                let stem =
                    [".tar.gz", ".tgz", ".tar"].iter().find_map(|end| file.strip_suffix(end));
                let name = stem.unwrap_or(file).to_owned();
                Self { kind: "package".to_owned(), name, version: String::new() }
            }
        }
    }

    pub(super) fn release(&self) -> Release<'_> {
        Release { kind: &self.kind, name: &self.name, version: &self.version }
    }
}

/// The result of one image, or its plan.
pub(super) struct ImageOutcome {
    /// The reference at the site.
    pub(super) reference: Reference,
    pub(super) result: Result<CopyReport>,
}

impl ImageOutcome {
    pub(super) fn all(images: Vec<ImageInstallation>) -> Vec<Self> {
        let outcome = |image: ImageInstallation| Self {
            reference: image.reference,
            result: image.result.map_err(existing_tag::bundle_error),
        };
        images.into_iter().map(outcome).collect()
    }
}

/// One package, and the results of its installation.
pub(super) struct Installation {
    /// The address of the package, without secrets.
    pub(super) shown: String,
    pub(super) package: Package,
    pub(super) identity: Identity,
    pub(super) manifests: Manifests,
    pub(super) variables: BTreeSet<String>,
    pub(super) values: Values,
    /// The files to hand over.
    pub(super) rendered: Vec<RenderedFile>,
    /// The result of each image.
    pub(super) images: Vec<ImageOutcome>,
    /// The files that were handed over.
    pub(super) handed_over: Vec<String>,
    pub(super) receipt: Option<PathBuf>,
    /// The error that stopped the installation.
    pub(super) failure: Option<CliError>,
}

impl Installation {
    /// Opens a package, and collects the values of its variables.
    pub(super) async fn open(
        address: &str,
        args: &Args,
        site: &Site,
        global: &GlobalArgs,
    ) -> Result<Self> {
        let package = open(address, global).await?;
        let manifests = Manifests::read(&package).await?;
        let variables = match site.hand_over {
            Some(_) => manifests.variables()?,
            // Without a hand-over, the files are not rendered and may be invalid.
            None => manifests.variables().unwrap_or_default(),
        };
        let values = Values::resolve(&args.values, &site.registry, &site.policy, &variables)?;
        Ok(Self {
            shown: redact_url(address),
            identity: Identity::of(&package, &redact_url(address)),
            package,
            manifests,
            variables,
            values,
            rendered: Vec::new(),
            images: Vec::new(),
            handed_over: Vec::new(),
            receipt: None,
            failure: None,
        })
    }

    /// Pushes the images, hands the files over, and writes the receipt.
    ///
    /// # Errors
    /// The first error, with the steps that were completed. A second run finishes the installation.
    pub(super) async fn install(
        &mut self,
        site: &Site,
        options: &CopyOptions,
        output: &Output,
    ) -> Result<()> {
        let sink = Arc::clone(&site.sink);
        let pushed = install_each(&self.package, sink, &site.registry, options).await;
        let name = &self.shown;
        let pushed = match pushed {
            Ok(images) => images,
            Err(error) => {
                check_damage(&self.package, Some(&error), output).await?;
                let error = existing_tag::bundle_error(error);
                return Err(error.context(format!("cannot install {name}")));
            }
        };
        // One verification finds the damage of all images.
        let mut errors = pushed.iter().filter_map(|image| image.result.as_ref().err());
        let mismatch = errors.find(|error| is_mismatch(error));
        let damage = check_damage(&self.package, mismatch, output).await;
        let is_mismatched: Vec<bool> =
            pushed.iter().map(|image| image.result.as_ref().is_err_and(is_mismatch)).collect();
        self.images = ImageOutcome::all(pushed);
        if let Err(damage) = damage {
            // The bundle is the cause, not the registry.
            let images = self.images.iter_mut().zip(is_mismatched);
            for error in images.filter_map(|(image, is)| image.result.as_mut().err().filter(|_| is))
            {
                error.exit = damage.exit;
                error.hint.clone_from(&damage.hint);
            }
            return Err(damage);
        }
        self.require_all_images()?;
        let Identity { kind, name, .. } = &self.identity;
        let history = site.receipts.history(kind, name, output).await?;
        if let Some(hand_over) = &site.hand_over {
            let release = self.identity.release();
            let handed_over = hand_over.run(release, &self.rendered, &history, output).await;
            handed_over.map_err(|error| {
                error.context(format!(
                    "cannot hand over {kind} {name}; its images are in the registry"
                ))
            })?;
            self.handed_over = self.rendered.iter().map(|file| file.path.clone()).collect();
        }
        let added = history.add(self.to_receipt(site));
        self.receipt = Some(added.map_err(|error| {
            error.context(format!("{kind} {name} is installed, but its receipt was not written"))
        })?);
        Ok(())
    }

    /// Returns an error if an image was not pushed; the others were.
    fn require_all_images(&self) -> Result<()> {
        let failed: Vec<_> =
            self.images.iter().filter_map(|image| image.result.as_ref().err()).collect();
        let Some(first) = failed.first() else { return Ok(()) };
        let all = self.images.len();
        let what = match failed.len() {
            count if count == all => "no image was pushed".to_owned(),
            count => format!("{count} of {all} images were not pushed, the others were"),
        };
        let message = format!("cannot install {}: {what}", self.shown);
        Err(CliError {
            message,
            causes: failed.iter().map(ToString::to_string).collect(),
            ..(*first).clone()
        })
    }

    fn to_receipt(&self, site: &Site) -> Receipt {
        let Identity { kind, name, version } = &self.identity;
        let mut receipt = Receipt::new(kind, name, version, site.registry.to_string());
        receipt.digest = self.package.as_bundle().map(Bundle::digest);
        receipt.images = self
            .images
            .iter()
            .filter_map(|image| {
                let digest = image.result.as_ref().ok()?.digest;
                Some(ReceiptImage { reference: image.reference.to_string(), digest })
            })
            .collect();
        let files = self.rendered.iter();
        let secret: BTreeSet<_> =
            files.clone().flat_map(|file| file.secret_variables.clone()).collect();
        receipt.secret_variables = secret.into_iter().collect();
        receipt.files = files
            .map(|file| ReceiptFile { path: file.path.clone(), content: file.public.clone() })
            .collect();
        receipt.hand_over = site.hand_over.as_ref().map(ToString::to_string);
        receipt
    }
}
