//! The release repository on disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use compass_manifest::inventory::{self, FileImage, Hotfix, Product};
use compass_manifest::plugin::PluginManifest;
use compass_manifest::policy::POLICY_FILE;
use compass_manifest::source::SourceFile;
use compass_manifest::version::{PluginVersion, ProductVersion};
use compass_manifest::{Policy, Tree, plugin_names, read_plugin};
use compass_registry::Reference;

use crate::checkout::{Checkout, FileKind};
use crate::cli::Global;
use crate::failure::Failure;
use crate::regular_file;

/// A file that is larger is read only so far; the rules then say that it is too large.
pub(crate) const READ_LIMIT: u64 = (compass_manifest::yaml::MAX_BYTES + 1) as u64;

/// The release repository: where it is, what it decides, what it holds.
#[derive(Debug)]
pub(crate) struct Repository {
    pub(crate) root: PathBuf,
    pub(crate) policy: Policy,
    pub(crate) tree: Tree,
    pub(crate) checkout: Checkout,
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
    pub(crate) fn open(global: &Global) -> Result<Self, Failure> {
        let root = match &global.repo {
            Some(root) if root.is_dir() => root.clone(),
            Some(root) => {
                return Err(Failure::usage(format!("{} is not a directory", root.display())));
            }
            None => enclosing()?,
        };
        let checkout = Checkout::open(&root, global.repo.is_some())?;
        let policy = read_policy(&root, global.policy.as_deref(), &checkout)?;
        let tree = read_tree(&checkout)?;
        Ok(Self { root, policy, tree, checkout })
    }

    /// Whether the current directory is in one.
    pub(crate) fn is_around() -> bool {
        enclosing().is_ok()
    }

    /// One that holds nothing, with the policy that is named, or else the usual one.
    pub(crate) fn none(global: &Global) -> Result<Self, Failure> {
        let root = PathBuf::from(".");
        let policy = match &global.policy {
            Some(policy) => read_policy(&root, Some(policy), &Checkout::default())?,
            None => Policy::default(),
        };
        Ok(Self { root, policy, tree: Tree::default(), checkout: Checkout::default() })
    }

    /// The plugins that targets name, as `plugin gpu plugin log`.
    pub(crate) fn plugins(&self, target: &[String]) -> Result<Vec<Plugin>, Failure> {
        let form = "a target is `plugin NAME`, `hotfix ADDON-HOTFIXVERSION` or `product VERSION`";
        let mut plugins = Vec::new();
        for pair in target.chunks(2) {
            match pair {
                [kind, name] if kind == "plugin" => plugins.push(self.plugin(name)?),
                [kind, _] => {
                    let message = format!("`{kind}` is not a kind of target");
                    return Err(Failure::usage(message).hint(form));
                }
                _ => {
                    let message = format!("the target `{}` has no name", pair.join(" "));
                    return Err(Failure::usage(message).hint(form));
                }
            }
        }
        Ok(plugins)
    }

    pub(crate) fn all_plugins(&self) -> Result<Vec<Plugin>, Failure> {
        plugin_names(&self.tree, &self.policy).iter().map(|name| self.plugin(name)).collect()
    }

    fn plugin(&self, name: &str) -> Result<Plugin, Failure> {
        let directory = self.policy.plugins.directories.join(" or ");
        let Some((source, manifest)) = read_plugin(&self.tree, &self.policy, name) else {
            let known = plugin_names(&self.tree, &self.policy).join(", ");
            let known = if known.is_empty() { "there are none".to_owned() } else { known };
            return Err(Failure::usage(format!("there is no {directory}/{name}.yaml"))
                .hint(format!("plugins here: {known}")));
        };
        let unusable = |what: String| {
            Failure::not_right(format!("{}: {what}", source.path()))
                .hint("`compass check` shows where")
        };
        let version = manifest.version.as_ref().map(|version| version.value.clone());
        let version = version.filter(|version| version.parse::<PluginVersion>().is_ok());
        let version =
            version.ok_or_else(|| unusable("it has no valid `spec.version`".to_owned()))?;
        let own = manifest.name.as_ref().map(|name| name.value.as_str());
        if own != Some(name) {
            return Err(unusable("`metadata.name` is not the name of the file".to_owned()));
        }
        let images = self.images(&source, &manifest)?;
        if images.is_empty() {
            return Err(unusable("`spec.service.image` names no image".to_owned()));
        }
        Ok(Plugin { name: name.to_owned(), version, images, source })
    }

    fn images(
        &self,
        source: &SourceFile,
        manifest: &PluginManifest,
    ) -> Result<Vec<TargetImage>, Failure> {
        let images = manifest.images().into_iter().map(|image| {
            let written = image.reference.to_string();
            let (name, version) = split_version(&written, image.reference.repository());
            Ok(TargetImage {
                file: source.path().to_owned(),
                line: source.position(image.span.start).line,
                path: image.path,
                source: (self.policy.registries.source_of(name) + version).parse()?,
                release: written.parse()?,
                written,
            })
        });
        images.collect()
    }

    /// The images that targets consist of: `plugin NAME`, `hotfix ADDON-HOTFIXVERSION`, `product
    /// VERSION`, several times if wanted.
    pub(crate) fn target_images(&self, target: &[String]) -> Result<Vec<TargetImage>, Failure> {
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

    /// The images of all plugins, hotfixes and addons, and those that are no reference.
    pub(crate) fn all_images(&self) -> Result<(Vec<TargetImage>, Vec<Failure>), Failure> {
        let (mut images, mut broken) = (Vec::new(), Vec::new());
        for image in inventory::images(&self.tree, &self.policy) {
            match self.target_image(image)? {
                Ok(image) => images.push(image),
                Err(failure) => broken.push(failure),
            }
        }
        Ok((images, broken))
    }

    /// The hotfixes of a name, `ADDON-HOTFIXVERSION`: one file each.
    pub(crate) fn hotfixes(&self, name: &str) -> Result<Vec<Hotfix>, Failure> {
        let named = |hotfix: &Hotfix| {
            let package = hotfix.package.rsplit('/').next().unwrap_or_default();
            let full =
                hotfix.addon.iter().zip(&hotfix.version).map(|(a, v)| format!("{a}-{v}")).next();
            hotfix.package == name || package == name || full.as_deref() == Some(name)
        };
        let hotfixes = inventory::hotfixes(&self.tree, &self.policy);
        let packages = some_of(hotfixes.iter().map(|hotfix| hotfix.package.as_str()));
        let found: Vec<_> = hotfixes.into_iter().filter(named).collect();
        if found.is_empty() {
            let directories = self.policy.hotfixes.directories.join(" or ");
            let message = format!("there is no hotfix `{name}` in {directories}");
            let form = "a hotfix is named `ADDON-HOTFIXVERSION`, as its directory";
            return Err(Failure::usage(message).hint(format!("{form}; hotfixes here: {packages}")));
        }
        let mut same: Vec<_> = found.iter().map(|hotfix| hotfix.package.as_str()).collect();
        same.dedup();
        if same.len() > 1 {
            let message = format!("several hotfixes are named `{name}`: {}", same.join(", "));
            return Err(Failure::usage(message).hint("name one of them by its whole path"));
        }
        self.require_whole(|path| found.iter().any(|one| one.source.path() == path), None)?;
        Ok(found)
    }

    fn hotfix_images(&self, name: &str) -> Result<Vec<TargetImage>, Failure> {
        let hotfixes = self.hotfixes(name)?;
        let images = hotfixes.into_iter().flat_map(file_images);
        images.map(|image| self.target_image(image)?).collect()
    }

    pub(crate) fn product(&self, version: &str) -> Result<Product, Failure> {
        let parsed: ProductVersion = version.parse().map_err(Failure::usage)?;
        let product = inventory::product(&self.tree, &self.policy, &parsed).ok_or_else(|| {
            let directories = self.policy.products.directories.join(" or ");
            Failure::usage(format!("there is no product `{version}` in {directories}"))
        })?;
        let manifest = product.source.path();
        let is_part = |path: &str| {
            path == manifest
                || product.lists.iter().any(|list| list == path)
                || product.manifest.below_addons(path).is_some()
                || (product.manifest.addons_directory().is_some()
                    && self.policy.products.is_overlay(path))
        };
        self.require_whole(is_part, Some(manifest))?;
        Ok(product)
    }

    fn product_images(&self, version: &str) -> Result<Vec<TargetImage>, Failure> {
        self.distinct_images(self.product(version)?.images)
    }

    /// Images as targets have them, each once.
    pub(crate) fn distinct_images(
        &self,
        images: Vec<FileImage>,
    ) -> Result<Vec<TargetImage>, Failure> {
        let mut seen = BTreeSet::new();
        let distinct = images.into_iter().filter(|image| {
            image.used.image.as_ref().map_or(true, |image| seen.insert(image.listed()))
        });
        distinct.map(|image| self.target_image(image)?).collect()
    }

    /// The outer failure is the policy's, the inner one the image's own.
    pub(crate) fn target_image(
        &self,
        image: FileImage,
    ) -> Result<Result<TargetImage, Failure>, Failure> {
        let place = format!("{}:{}", image.file, image.line);
        let used = match image.used.image {
            Ok(used) => used,
            Err(reason) => {
                let message = format!("{place}: `{}` is no image: {reason}", image.used.written);
                return Ok(Err(Failure::not_right(message).hint("`compass check` shows where")));
            }
        };
        let parse = |reference: String| -> Result<Reference, Failure> {
            reference.parse().map_err(|error: compass_registry::Error| {
                let message = format!("{place}: `{}` is no image: {error}", image.used.written);
                Failure::usage(message).hint("a list has one `PROJECT/NAME:TAG` on a line, no host")
            })
        };
        let (release, source) =
            (parse(used.release(&self.policy))?, parse(used.source(&self.policy))?);
        Ok(Ok(TargetImage {
            file: image.file.to_string(),
            line: image.line,
            path: image.used.path.to_string(),
            written: image.used.written,
            release,
            source,
        }))
    }
}

/// The images of a hotfix, and where they stand.
pub(crate) fn file_images(hotfix: Hotfix) -> impl Iterator<Item = FileImage> {
    let source = hotfix.source;
    let file: Arc<str> = source.path().into();
    hotfix.images.into_iter().map(move |used| FileImage {
        file: Arc::clone(&file),
        line: source.position(used.span.start).line,
        used,
    })
}

/// A reference's repository, and the tag and digest behind it.
fn split_version<'t>(written: &'t str, repository: &'t str) -> (&'t str, &'t str) {
    let end = written.find(repository).map_or(written.len(), |at| at + repository.len());
    (repository, &written[end..])
}

/// The nearest directory around this one that looks like a release repository.
fn enclosing() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir().map_err(|error| Failure::outside(&error))?;
    let marks = [POLICY_FILE, "release-plugins", "release-hotfixes", "release-products"];
    let found = here.ancestors().find(|one| marks.iter().any(|mark| one.join(mark).exists()));
    found.map(Path::to_owned).ok_or_else(|| {
        let message = format!("{} is not in a release repository", here.display());
        Failure::usage(message).hint("go into one, or name it with `--repo DIR`")
    })
}

fn read_policy(root: &Path, named: Option<&Path>, checkout: &Checkout) -> Result<Policy, Failure> {
    let (path, bytes) = match named {
        Some(path) => (path.to_owned(), regular_file::read_named(path, READ_LIMIT)),
        // A sparse checkout may have left it out.
        None if checkout.is_committed(POLICY_FILE) => {
            let bytes = checkout.read(&[POLICY_FILE], READ_LIMIT)?.remove(0);
            (root.join(POLICY_FILE), Ok(bytes))
        }
        None => (root.join(POLICY_FILE), regular_file::read(&root.join(POLICY_FILE), READ_LIMIT)),
    };
    match bytes {
        Ok(bytes) => {
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            parse_policy(&shown, bytes)
        }
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Policy::default())
        }
        Err(error) => Err(Failure::usage(format!("cannot read {}: {error}", path.display()))),
    }
}

/// A policy from the bytes of a file; `shown` names it in messages.
pub(crate) fn parse_policy(shown: &str, bytes: Vec<u8>) -> Result<Policy, Failure> {
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("{shown} is not UTF-8 text")))?;
    Ok(Policy::parse(&SourceFile::new(shown, text))?)
}

/// All files of the repository: manifests, lists and words are read, of others only that they are
/// there, and whether they changed.
fn read_tree(checkout: &Checkout) -> Result<Tree, Failure> {
    let is_read = |(path, kind): &(&str, FileKind)| *kind == FileKind::Regular && is_read(path);
    let (read, unread): (Vec<_>, Vec<_>) = checkout.files().partition(is_read);
    let read: Vec<&str> = read.into_iter().map(|(path, _)| path).collect();
    let mut tree = Tree::new();
    for (path, bytes) in read.iter().zip(checkout.read(&read, READ_LIMIT)?) {
        tree.insert(*path, bytes);
    }
    for (path, _) in unread {
        tree.insert_unread(path, "");
    }
    Ok(tree)
}

/// Whether the rules may read a file.
pub(crate) fn is_read(path: &str) -> bool {
    [".yaml", ".yml", ".list", ".md"].iter().any(|ending| path.ends_with(ending))
}

/// A few of many names.
fn some_of<'n>(names: impl Iterator<Item = &'n str>) -> String {
    const SHOWN: usize = 8;
    let mut names: Vec<_> = names.collect();
    names.dedup();
    match names.len() {
        0 => "none".to_owned(),
        count if count <= SHOWN => names.join(", "),
        count => format!("{}, and {} more", names[..SHOWN].join(", "), count - SHOWN),
    }
}
