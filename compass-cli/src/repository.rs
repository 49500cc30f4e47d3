//! The release repository on disk.

mod load;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use compass_manifest::bump::known_product_versions;
use compass_manifest::escape::{escape, quote};
use compass_manifest::inventory::{self, FileImage, Hotfix, Product};
use compass_manifest::policy::POLICY_FILE;
use compass_manifest::source::SourceFile;
use compass_manifest::version::{PluginVersion, ProductVersion};
use compass_manifest::{EntryKind, Policy, Report, Tree, suggest};
use compass_registry::Reference;

use crate::checkout::Checkout;
use crate::cli::Global;
use crate::error::CliError;

pub(crate) use load::read_wanted;
use load::{read_policy, read_tree};

/// A file that is larger is read only so far; the rules then say that it is too large.
pub(crate) const READ_LIMIT: u64 = (compass_manifest::yaml::MAX_BYTES + 1) as u64;

/// The release repository: where it is, what it decides, what it holds.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    pub(crate) root: PathBuf,
    pub(crate) policy: Policy,
    pub(crate) tree: Tree,
    pub(crate) checkout: Checkout,
    /// What the rules find, whatever the policy makes of it.
    pub(crate) unabridged: OnceLock<Report>,
}

/// A plugin that is to be released.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) source: SourceFile,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) images: Vec<TargetImage>,
}

/// An image of a target.
#[derive(Debug, Clone)]
pub(crate) struct TargetImage {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) path: String,
    /// As it stands in the file.
    pub(crate) written: String,
    pub(crate) release: Reference,
    pub(crate) source: Reference,
}

impl Repository {
    pub(crate) fn open(global: &Global) -> Result<Self, CliError> {
        let root = match &global.repo {
            Some(root) if root.is_dir() => root.clone(),
            Some(root) => {
                return Err(CliError::usage(format!("{} is not a directory", root.display())));
            }
            None => enclosing()?,
        };
        let checkout = Checkout::open(&root, global.repo.is_some())?;
        let policy = read_policy(&root, global.policy.as_deref(), &checkout)?;
        let tree = read_tree(&checkout, &policy)?;
        Ok(Self { root, policy, tree, checkout, unabridged: OnceLock::new() })
    }

    /// Reads also what the rules read by another policy.
    pub(crate) fn read_for(&mut self, policy: &Policy) -> Result<(), CliError> {
        let checkout = &self.checkout;
        read_wanted(&mut self.tree, policy, |paths| checkout.read(paths, READ_LIMIT))
    }

    /// Whether the current directory is in one.
    pub(crate) fn is_around() -> bool {
        enclosing().is_ok()
    }

    /// One that holds nothing, with the policy that is named, or else the usual one.
    pub(crate) fn none(global: &Global) -> Result<Self, CliError> {
        let root = PathBuf::from(".");
        let policy = match &global.policy {
            Some(policy) => read_policy(&root, Some(policy), &Checkout::default())?,
            None => Policy::default(),
        };
        Ok(Self { root, policy, ..Self::default() })
    }

    /// The plugins that targets name, as `plugin gpu plugin log`.
    pub(crate) fn plugins(&self, target: &[String]) -> Result<Vec<Plugin>, CliError> {
        let form = "a target is `plugin NAME`, `hotfix ADDON-HOTFIXVERSION` or `product VERSION`";
        let mut plugins = Vec::new();
        for pair in target.chunks(2) {
            match pair {
                [kind, name] if kind == "plugin" => plugins.push(self.plugin(name)?),
                [kind, _] => {
                    let message = format!("`{kind}` is not a kind of target");
                    let kinds = ["plugin", "hotfix", "product"].into_iter();
                    return Err(CliError::usage(message).hint(match suggest(kind, kinds) {
                        Some(meant) => format!("did you mean `{meant}`? {form}"),
                        None => form.to_owned(),
                    }));
                }
                _ => {
                    let message = format!("the target `{}` has no name", pair.join(" "));
                    return Err(CliError::usage(message).hint(form));
                }
            }
        }
        Ok(plugins)
    }

    fn plugin(&self, name: &str) -> Result<Plugin, CliError> {
        let inventory::Plugin { source, manifest, images, .. } = self.plugin_manifest(name)?;
        self.require_complete(|path| path == source.path(), None)?;
        let unusable = |what: &str| {
            CliError::check_failed(format!("{}: {what}", escape(source.path())))
                .hint("`compass check` shows where")
        };
        let version = manifest.version.as_ref().map(|version| version.value.clone());
        let version = version.filter(|version| version.parse::<PluginVersion>().is_ok());
        let version = version.ok_or_else(|| unusable("it has no valid `spec.version`"))?;
        let own = manifest.name.as_ref().map(|name| name.value.as_str());
        if own != Some(name) {
            return Err(unusable("`metadata.name` is not the name of the file"));
        }
        if manifest.image.is_none() {
            return Err(unusable("`spec.service.image` names no image"));
        }
        let images = self.distinct_images(images)?;
        Ok(Plugin { name: name.to_owned(), version, images, source })
    }

    /// The only manifest of a plugin.
    pub(crate) fn plugin_manifest(&self, name: &str) -> Result<inventory::Plugin, CliError> {
        let plugins = inventory::plugins(&self.tree, &self.policy);
        let (mut named, others): (Vec<_>, Vec<_>) =
            plugins.into_iter().partition(|plugin| plugin.name == name);
        let Some(plugin) = named.pop() else {
            let directories = &self.policy.plugins.directories;
            let mut paths = directories.iter().map(|directory| format!("{directory}/{name}.yaml"));
            if let Some((path, kind)) = paths.find_map(|path| {
                let kind = self.tree.kind(&path).filter(|kind| *kind != EntryKind::File)?;
                Some((path, kind))
            }) {
                let message = format!("{path} is {}, and is not read", kind.describe());
                return Err(CliError::check_failed(message).hint("put the file itself there"));
            }
            let known: Vec<_> = others.into_iter().map(|plugin| plugin.name).collect();
            let message = format!("there is no {}/{}.yaml", directories.join(" or "), escape(name));
            return Err(CliError::usage(message).hint(known_names("plugins", name, &known)));
        };
        if let Some(other) = named.first() {
            let paths = [other.source.path(), plugin.source.path()].map(escape).join(" and ");
            return Err(CliError::check_failed(format!(
                "plugin `{name}` has two manifests: {paths}"
            ))
            .hint("keep one of them: nothing says which one is meant"));
        }
        Ok(plugin)
    }

    /// The images that targets consist of: `plugin NAME`, `hotfix ADDON-HOTFIXVERSION`, `product
    /// VERSION`, several times if wanted.
    pub(crate) fn target_images(&self, target: &[String]) -> Result<Vec<TargetImage>, CliError> {
        let mut images: Vec<TargetImage> = Vec::new();
        for pair in target.chunks(2) {
            match pair {
                [kind, name] if kind == "hotfix" => images.extend(self.hotfix_images(name)?),
                [kind, version] if kind == "product" => {
                    images.extend(self.product_images(version)?);
                }
                _ => images.extend(self.plugins(pair)?.into_iter().flat_map(|p| p.images)),
            }
        }
        Ok(images)
    }

    /// The files that targets consist of.
    pub(crate) fn target_files(&self, target: &[String]) -> Result<BTreeSet<String>, CliError> {
        let mut files = BTreeSet::new();
        for pair in target.chunks(2) {
            match pair {
                [kind, name] if kind == "hotfix" => {
                    let hotfixes = self.hotfixes(name)?.into_iter();
                    files.extend(hotfixes.map(|hotfix| hotfix.source.path().to_owned()));
                }
                [kind, version] if kind == "product" => {
                    let product = self.product(version)?;
                    let paths = self.tree.paths();
                    let parts = paths.filter(|path| product.includes(path, &self.policy));
                    files.extend(parts.map(str::to_owned));
                }
                _ => {
                    let plugins = self.plugins(pair)?.into_iter();
                    files.extend(plugins.map(|plugin| plugin.source.path().to_owned()));
                }
            }
        }
        Ok(files)
    }

    /// The images of all plugins, hotfixes and addons, and what keeps others from being listed.
    pub(crate) fn all_images(&self) -> (Vec<TargetImage>, Vec<String>) {
        let (mut images, mut problems) = (Vec::new(), Vec::new());
        let mut broken = BTreeSet::new();
        for image in inventory::images(&self.tree, &self.policy) {
            let place = format!("{}:{}", image.file, image.line);
            match self.target_image(image) {
                Ok(image) => images.push(image),
                Err(failure) => {
                    problems.push(failure.message);
                    broken.insert(place);
                }
            }
        }
        problems.extend(self.omissions(&broken));
        (images, problems)
    }

    /// The hotfixes of a name, `ADDON-HOTFIXVERSION`: one file each.
    pub(crate) fn hotfixes(&self, name: &str) -> Result<Vec<Hotfix>, CliError> {
        let named = |hotfix: &Hotfix| {
            let package = hotfix.package.rsplit('/').next().unwrap_or_default();
            let full =
                hotfix.addon.iter().zip(&hotfix.version).map(|(a, v)| format!("{a}-{v}")).next();
            hotfix.package == name || package == name || full.as_deref() == Some(name)
        };
        let hotfixes = inventory::hotfixes(&self.tree, &self.policy);
        let mut packages: Vec<_> = hotfixes.iter().map(|hotfix| hotfix.package.clone()).collect();
        packages.dedup();
        let found: Vec<_> = hotfixes.into_iter().filter(named).collect();
        if found.is_empty() {
            let directories = self.policy.hotfixes.directories.join(" or ");
            let message = format!("there is no hotfix `{}` in {directories}", escape(name));
            let form = "a hotfix is named `ADDON-HOTFIXVERSION`, as its directory";
            let known = known_names("hotfixes", name, &packages);
            return Err(CliError::usage(message).hint(format!("{form}; {known}")));
        }
        let mut same: Vec<_> = found.iter().map(|hotfix| hotfix.package.as_str()).collect();
        same.dedup();
        if same.len() > 1 {
            let same = escape(&same.join(", ")).into_owned();
            let message = format!("several hotfixes are named `{name}`: {same}");
            return Err(CliError::usage(message).hint("name one of them by its whole path"));
        }
        self.require_complete(|path| found.iter().any(|one| one.source.path() == path), None)?;
        Ok(found)
    }

    fn hotfix_images(&self, name: &str) -> Result<Vec<TargetImage>, CliError> {
        let hotfixes = self.hotfixes(name)?;
        let images = hotfixes.into_iter().flat_map(file_images);
        self.target_images_of(images)
    }

    pub(crate) fn product(&self, version: &str) -> Result<Product, CliError> {
        let parsed: ProductVersion = version.parse().map_err(CliError::usage)?;
        let mut products = inventory::products(&self.tree, &self.policy, &parsed);
        let product = products.pop().ok_or_else(|| {
            let directories = self.policy.products.directories.join(" or ");
            let known = known_product_versions(&self.tree, &self.policy);
            let known: Vec<_> = known.iter().map(ToString::to_string).collect();
            CliError::usage(format!("there is no product `{version}` in {directories}"))
                .hint(known_names("products", version, &known))
        })?;
        if let Some(other) = products.first() {
            let paths = [other.source.path(), product.source.path()].map(escape).join(" and ");
            return Err(CliError::check_failed(format!(
                "product `{version}` has two manifests: {paths}"
            ))
            .hint("keep one of them: nothing says which one is meant"));
        }
        let manifest = product.source.path();
        self.require_complete(|path| product.includes(path, &self.policy), Some(manifest))?;
        Ok(product)
    }

    fn product_images(&self, version: &str) -> Result<Vec<TargetImage>, CliError> {
        let product = self.product(version)?;
        if product.images.is_empty() {
            let manifest = escape(product.source.path());
            return Err(CliError::check_failed(format!("product `{version}` has no image"))
                .hint(format!("name image lists with images in `spec.imageLists` of {manifest}")));
        }
        self.distinct_images(product.images)
    }

    /// Images as targets have them, each once.
    pub(crate) fn distinct_images(
        &self,
        images: Vec<FileImage>,
    ) -> Result<Vec<TargetImage>, CliError> {
        let mut seen = BTreeSet::new();
        let distinct = images.into_iter().filter(|image| {
            image.image_use.image.as_ref().map_or(true, |image| seen.insert(image.list_entry()))
        });
        self.target_images_of(distinct)
    }

    /// Resolves images; the error names every invalid reference.
    pub(crate) fn target_images_of(
        &self,
        images: impl IntoIterator<Item = FileImage>,
    ) -> Result<Vec<TargetImage>, CliError> {
        let (mut found, mut broken) = (Vec::new(), Vec::new());
        for image in images {
            match self.target_image(image) {
                Ok(image) => found.push(image),
                Err(failure) => broken.push(failure.message),
            }
        }
        match broken.is_empty() {
            true => Ok(found),
            false => {
                Err(CliError::check_failed(broken.join("\n")).hint("`compass check` shows where"))
            }
        }
    }

    fn target_image(&self, image: FileImage) -> Result<TargetImage, CliError> {
        let broken = |reason: &dyn std::fmt::Display| {
            let place = format!("{}:{}", escape(&image.file), image.line);
            let written = quote(&image.image_use.written);
            CliError::check_failed(format!("{place}: {written} is no image: {reason}"))
        };
        let used = image.image_use.image.as_ref().map_err(|reason| broken(reason))?;
        let parse = |reference: String| -> Result<Reference, CliError> {
            reference.parse().map_err(|error: compass_registry::Error| broken(&error))
        };
        Ok(TargetImage {
            release: parse(used.release_reference(&self.policy))?,
            source: parse(used.source_reference(&self.policy))?,
            file: image.file.to_string(),
            line: image.line,
            path: image.image_use.path.to_string(),
            written: image.image_use.written,
        })
    }
}

/// The images of a hotfix, and where they stand.
pub(crate) fn file_images(hotfix: Hotfix) -> impl Iterator<Item = FileImage> {
    let source = hotfix.source;
    let file: Arc<str> = source.path().into();
    hotfix.images.into_iter().map(move |used| FileImage {
        file: Arc::clone(&file),
        line: source.position(used.span.start).line,
        image_use: used,
    })
}

/// The nearest directory around this one that looks like a release repository.
fn enclosing() -> Result<PathBuf, CliError> {
    let here = std::env::current_dir().map_err(|error| CliError::external(&error))?;
    let marks = [POLICY_FILE, "release-plugins", "release-hotfixes", "release-products"];
    let found = here.ancestors().find(|one| marks.iter().any(|mark| one.join(mark).exists()));
    found.map(Path::to_owned).ok_or_else(|| {
        let message = format!("{} is not in a release repository", here.display());
        CliError::usage(message).hint("go into one, or name it with `--repo DIR`")
    })
}

/// The names that there are, and the one that a mistyped one may mean.
fn known_names(what: &str, name: &str, known: &[String]) -> String {
    const SHOWN: usize = 8;
    let listed = match known.len() {
        0 => "there are none".to_owned(),
        count if count <= SHOWN => known.join(", "),
        count => format!("{}, and {} more", known[..SHOWN].join(", "), count - SHOWN),
    };
    let listed = escape(&listed);
    let last = |name: &'_ String| name.rfind('/').map_or(0, |slash| slash + 1);
    let names = known.iter().map(|name| &name[last(name)..]);
    match suggest(name, names) {
        Some(meant) => format!("did you mean {}? {what} here: {listed}", quote(meant)),
        None => format!("{what} here: {listed}"),
    }
}
