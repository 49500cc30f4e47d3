//! The targets of a command: plugins, hotfixes and products.

use std::collections::BTreeSet;

use compass_manifest::bump::known_product_versions;
use compass_manifest::escape::{escape, quote};
use compass_manifest::inventory::{self, Hotfix, Product};
use compass_manifest::source::SourceFile;
use compass_manifest::version::{PluginVersion, ProductVersion};
use compass_manifest::{EntryKind, suggest};

use super::{Repository, TargetImage};
use crate::error::{CliError, Result};

const TARGET_FORMS: &str =
    "a target is `plugin NAME`, `hotfix ADDON-HOTFIXVERSION` or `product VERSION`";

/// The target of a command that takes exactly one.
#[derive(Debug, clap::Args)]
pub(crate) struct TargetArgs {
    /// The kind of the target: `plugin`, `hotfix` or `product`
    kind: String,
    /// The name of the plugin, ADDON-HOTFIXVERSION of the hotfix, or the version of the product
    name: String,
}

impl TargetArgs {
    pub(crate) fn words(&self) -> [String; 2] {
        [self.kind.clone(), self.name.clone()]
    }
}

/// A target as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'t> {
    Plugin(&'t str),
    Hotfix(&'t str),
    Product(&'t str),
}

/// A plugin that can be released.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) source: SourceFile,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) images: Vec<TargetImage>,
}

impl<'t> Target<'t> {
    /// Parses arguments such as `plugin gpu plugin log`.
    pub(crate) fn parse_all(arguments: &'t [String]) -> Result<Vec<Self>> {
        arguments.chunks(2).map(Self::parse).collect()
    }

    fn parse(arguments: &'t [String]) -> Result<Self> {
        let [kind, name] = arguments else {
            let message = format!("the target `{}` has no name", arguments.join(" "));
            return Err(CliError::usage(message).hint(TARGET_FORMS));
        };
        match kind.as_str() {
            "plugin" => Ok(Self::Plugin(name)),
            "hotfix" => Ok(Self::Hotfix(name)),
            "product" => Ok(Self::Product(name)),
            kind => {
                let message = format!("`{kind}` is not a kind of target");
                let meant = suggest(kind, ["plugin", "hotfix", "product"].into_iter());
                Err(CliError::usage(message).hint(match meant {
                    Some(meant) => format!("did you mean `{meant}`? {TARGET_FORMS}"),
                    None => TARGET_FORMS.to_owned(),
                }))
            }
        }
    }
}

impl Repository {
    /// The images of targets.
    pub(crate) fn target_images(&self, targets: &[String]) -> Result<Vec<TargetImage>> {
        let mut images = Vec::new();
        for target in Target::parse_all(targets)? {
            images.extend(match target {
                Target::Plugin(name) => self.plugin(name)?.images,
                Target::Hotfix(name) => {
                    let hotfixes = self.hotfixes(name)?.into_iter();
                    self.resolve_images(hotfixes.flat_map(|hotfix| hotfix.images))?
                }
                Target::Product(version) => self.product_images(version)?,
            });
        }
        Ok(images)
    }

    /// The files of targets.
    pub(crate) fn target_files(&self, targets: &[String]) -> Result<BTreeSet<String>> {
        let mut files = BTreeSet::new();
        for target in Target::parse_all(targets)? {
            match target {
                Target::Plugin(name) => {
                    files.insert(self.plugin(name)?.source.path().to_owned());
                }
                Target::Hotfix(name) => {
                    let hotfixes = self.hotfixes(name)?.into_iter();
                    files.extend(hotfixes.map(|hotfix| hotfix.source.path().to_owned()));
                }
                Target::Product(version) => {
                    let product = self.product(version)?;
                    let paths = self.tree.paths();
                    let included = paths.filter(|path| product.includes(path, &self.policy));
                    files.extend(included.map(str::to_owned));
                }
            }
        }
        Ok(files)
    }

    /// Finds a plugin that can be released.
    pub(crate) fn plugin(&self, name: &str) -> Result<Plugin> {
        let inventory::Plugin { source, manifest, images, .. } = self.plugin_manifest(name)?;
        self.require_complete(|path| path == source.path(), None)?;
        let invalid = |what: &str| CliError::invalid_file(&source, what);
        let version = manifest.version.as_ref().map(|version| version.value.clone());
        let version = version.filter(|version| version.parse::<PluginVersion>().is_ok());
        let version = version.ok_or_else(|| invalid("it has no valid `spec.version`"))?;
        let own = manifest.name.as_ref().map(|name| name.value.as_str());
        if own != Some(name) {
            return Err(invalid("`metadata.name` is not the name of the file"));
        }
        if manifest.image.is_none() {
            return Err(invalid("`spec.service.image` names no image"));
        }
        let images = self.distinct_images(images)?;
        Ok(Plugin { name: name.to_owned(), version, images, source })
    }

    /// Finds the only manifest of a plugin.
    pub(crate) fn plugin_manifest(&self, name: &str) -> Result<inventory::Plugin> {
        let plugins = inventory::plugins(self.release());
        let (mut named, others): (Vec<_>, Vec<_>) =
            plugins.into_iter().partition(|plugin| plugin.name == name);
        let Some(plugin) = named.pop() else {
            let names: Vec<_> = others.into_iter().map(|plugin| plugin.name).collect();
            return Err(self.no_such_plugin(name, &names));
        };
        match named.first() {
            Some(other) => Err(ambiguous("plugin", name, [&other.source, &plugin.source])),
            None => Ok(plugin),
        }
    }

    fn no_such_plugin(&self, name: &str, names: &[String]) -> CliError {
        let directories = &self.policy.plugins.directories;
        let mut paths = directories.iter().map(|directory| format!("{directory}/{name}.yaml"));
        let special = paths.find_map(|path| {
            let kind = self.tree.kind(&path).filter(|kind| *kind != EntryKind::File)?;
            Some((path, kind))
        });
        if let Some((path, kind)) = special {
            let message = format!("{path} is {}, which is not read", kind.describe());
            return CliError::check_failed(message).hint("replace it with a regular file");
        }
        let message = format!("there is no {}/{}.yaml", directories.join(" or "), escape(name));
        CliError::usage(message).hint(known_names("plugins", name, names))
    }

    /// Finds the hotfixes of a package, `ADDON-HOTFIXVERSION`: one for each of its files.
    pub(crate) fn hotfixes(&self, name: &str) -> Result<Vec<Hotfix>> {
        let is_named = |hotfix: &Hotfix| {
            let directory = hotfix.package.rsplit('/').next().unwrap_or_default();
            let full =
                hotfix.addon.iter().zip(&hotfix.version).map(|(a, v)| format!("{a}-{v}")).next();
            hotfix.package == name || directory == name || full.as_deref() == Some(name)
        };
        let hotfixes = inventory::hotfixes(self.release());
        let mut packages: Vec<_> = hotfixes.iter().map(|hotfix| hotfix.package.clone()).collect();
        packages.dedup();
        let matching: Vec<_> = hotfixes.into_iter().filter(is_named).collect();
        if matching.is_empty() {
            let directories = self.policy.hotfixes.directories.join(" or ");
            let message = format!("there is no hotfix `{}` in {directories}", escape(name));
            let form = "a hotfix is named `ADDON-HOTFIXVERSION`, as its directory";
            let known = known_names("hotfixes", name, &packages);
            return Err(CliError::usage(message).hint(format!("{form}; {known}")));
        }
        let mut same: Vec<_> = matching.iter().map(|hotfix| hotfix.package.as_str()).collect();
        same.dedup();
        if same.len() > 1 {
            let same = escape(&same.join(", ")).into_owned();
            let message = format!("several hotfixes are named `{name}`: {same}");
            return Err(CliError::usage(message).hint("use the path of one of them as the name"));
        }
        self.require_complete(|path| matching.iter().any(|one| one.source.path() == path), None)?;
        Ok(matching)
    }

    /// Finds the only manifest of a product version.
    pub(crate) fn product(&self, version: &str) -> Result<Product> {
        let parsed: ProductVersion = version.parse().map_err(CliError::usage)?;
        let mut products = inventory::products(self.release(), &parsed);
        let product = products.pop().ok_or_else(|| {
            let directories = self.policy.products.directories.join(" or ");
            let known = known_product_versions(self.release());
            let known: Vec<_> = known.iter().map(ToString::to_string).collect();
            CliError::usage(format!("there is no product `{version}` in {directories}"))
                .hint(known_names("products", version, &known))
        })?;
        if let Some(other) = products.first() {
            return Err(ambiguous("product", version, [&other.source, &product.source]));
        }
        let manifest = product.source.path();
        self.require_complete(|path| product.includes(path, &self.policy), Some(manifest))?;
        Ok(product)
    }

    fn product_images(&self, version: &str) -> Result<Vec<TargetImage>> {
        let product = self.product(version)?;
        if product.images.is_empty() {
            let manifest = escape(product.source.path());
            return Err(CliError::check_failed(format!("product `{version}` has no image"))
                .hint(format!("add image lists with images to `spec.imageLists` of {manifest}")));
        }
        self.distinct_images(product.images)
    }
}

/// The error for a target with two manifests.
fn ambiguous(kind: &str, name: &str, sources: [&SourceFile; 2]) -> CliError {
    let paths = sources.map(|source| escape(source.path())).join(" and ");
    CliError::check_failed(format!("{kind} `{name}` has two manifests: {paths}"))
        .hint("remove one of them")
}

/// Lists the known names, and suggests the one that a mistyped name may mean.
fn known_names(kind: &str, name: &str, known: &[String]) -> String {
    const MAX_SHOWN: usize = 8;
    let listed = match known.len() {
        0 => "none".to_owned(),
        count if count <= MAX_SHOWN => known.join(", "),
        count => format!("{}, and {} more", known[..MAX_SHOWN].join(", "), count - MAX_SHOWN),
    };
    let listed = escape(&listed);
    let last_element = |name: &String| name.rfind('/').map_or(0, |slash| slash + 1);
    match suggest(name, known.iter().map(|name| &name[last_element(name)..])) {
        Some(meant) => format!("did you mean {}? {kind} here: {listed}", quote(meant)),
        None => format!("{kind} here: {listed}"),
    }
}
