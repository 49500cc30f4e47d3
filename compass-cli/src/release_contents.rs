//! What the packages of a release repository are made of.

use std::collections::BTreeSet;

use compass_bundle::ContentFile;
use compass_bundle::document::BundleKind;
use compass_manifest::escape::escape;
use compass_manifest::has_conflict_markers;
use compass_manifest::inventory::Product;
use compass_manifest::source::Spanned;

use crate::checkout::FileKind;
use crate::error::CliError;
use crate::repository::{Plugin, Repository, TargetImage, file_images};

/// A package before its images are known to the registry.
#[derive(Debug)]
pub(crate) struct ReleaseContents {
    pub(crate) kind: BundleKind,
    pub(crate) name: String,
    pub(crate) version: String,
    /// The product version that a hotfix is for, where its own version does not begin with it.
    pub(crate) base: Option<String>,
    /// What it is made of, in the repository: their last change is the package's.
    pub(crate) paths: Vec<String>,
    pub(crate) files: Vec<ContentFile>,
    pub(crate) images: Vec<TargetImage>,
}

impl Repository {
    /// The files at paths, and below those that are directories.
    pub(crate) fn below(&self, paths: &[String]) -> BTreeSet<String> {
        let is_below = |file: &&str| {
            paths.iter().any(|path| {
                let rest = file.strip_prefix(path.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        self.tree.paths().filter(is_below).map(str::to_owned).collect()
    }

    /// The package of a target.
    pub(crate) fn package(&self, target: &[String]) -> Result<ReleaseContents, CliError> {
        match target {
            [kind, name] if kind == "hotfix" => self.hotfix_package(name),
            [kind, version] if kind == "product" => self.product_package(version),
            _ => match &self.plugins(target)?[..] {
                [plugin] => self.plugin_package(plugin),
                _ => Err(CliError::usage("one target is packaged at a time")),
            },
        }
    }

    pub(crate) fn plugin_package(&self, plugin: &Plugin) -> Result<ReleaseContents, CliError> {
        let path = plugin.source.path();
        let name = format!("{}.yaml", plugin.name);
        Ok(ReleaseContents {
            kind: BundleKind::Plugin,
            name: plugin.name.clone(),
            version: plugin.version.clone(),
            base: None,
            paths: vec![path.to_owned()],
            files: self.read([(path, name)])?,
            images: plugin.images.clone(),
        })
    }

    fn hotfix_package(&self, name: &str) -> Result<ReleaseContents, CliError> {
        let hotfixes = self.hotfixes(name)?;
        let Some(first) = hotfixes.first() else {
            return Err(CliError::usage(format!("there is no hotfix `{name}`")));
        };
        let unusable = |what: &str| {
            CliError::check_failed(format!("{}: {what}", escape(first.source.path())))
                .hint("`compass check` shows where")
        };
        let addon = first.addon.clone().ok_or_else(|| unusable("it names no addon"))?;
        let version = first.version.clone().ok_or_else(|| unusable("it has no version"))?;
        if hotfixes.iter().any(|other| other.addon.as_deref() != Some(&addon)) {
            return Err(unusable("one package patches one addon, and there are several"));
        }
        let named = hotfixes.iter().map(|hotfix| {
            let path = hotfix.source.path();
            let inside = path.strip_prefix(&hotfix.package).unwrap_or(path);
            (path, inside.trim_start_matches('/').to_owned())
        });
        let files = self.read(named)?;
        let paths = hotfixes.iter().map(|hotfix| hotfix.source.path().to_owned()).collect();
        let base = first.base.as_deref().and_then(|base| base_beside(base, &version));
        let images = self.distinct_images(hotfixes.into_iter().flat_map(file_images).collect())?;
        Ok(ReleaseContents {
            kind: BundleKind::Hotfix,
            name: addon,
            version,
            base,
            paths,
            files,
            images,
        })
    }

    fn product_package(&self, version: &str) -> Result<ReleaseContents, CliError> {
        let product = self.product(version)?;
        let path = product.source.path().to_owned();
        let unusable = |what: &str| {
            CliError::check_failed(format!("{}: {what}", escape(&path)))
                .hint("`compass check` shows where")
        };
        let text = |value: &Option<Spanned<String>>| value.as_ref().map(|text| text.value.clone());
        let name = text(&product.manifest.name);
        let name = name.ok_or_else(|| unusable("it has no `metadata.name`"))?;
        let written = text(&product.manifest.version);
        let written = written.ok_or_else(|| unusable("it has no `spec.version`"))?;
        // People write it with and without `v`; files are always named with it.
        let version = format!("v{}", written.trim_start_matches('v'));
        let images = self.distinct_images(product.images.clone())?;
        let mut files = self.read([(path.as_str(), "product.yaml".to_owned())])?;
        files.push(ContentFile::new("images.list", image_list(&images)));
        let mut paths = vec![path];
        paths.extend(product.lists.iter().cloned());
        files.extend(self.addon_files(&product, &mut paths)?);
        files.extend(self.extra_files(&product, &mut paths)?);
        Ok(ReleaseContents {
            kind: BundleKind::Product,
            name,
            version,
            base: None,
            paths,
            files,
            images,
        })
    }

    /// The files of the addons directory, as they are.
    fn addon_files(
        &self,
        product: &Product,
        paths: &mut Vec<String>,
    ) -> Result<Vec<ContentFile>, CliError> {
        let Some(directory) = product.manifest.addons_directory() else { return Ok(Vec::new()) };
        let files = self.read(self.tree.paths().filter_map(|path| {
            Some((path, format!("addons/{}", product.manifest.path_in_addons(path)?)))
        }))?;
        if !files.is_empty() {
            paths.push(directory.to_owned());
        }
        Ok(files)
    }

    fn extra_files(
        &self,
        product: &Product,
        paths: &mut Vec<String>,
    ) -> Result<Vec<ContentFile>, CliError> {
        let named = product.manifest.files.iter().filter_map(|file| {
            Some((file.source.as_ref()?, file.path.as_ref()?, file.mode.as_ref()))
        });
        let named: Vec<_> = named.collect();
        let contents = named.iter().map(|(source, path, _)| (&*source.value, path.value.clone()));
        let mut files = Vec::new();
        for ((source, path, mode), mut found) in named.iter().zip(self.read(contents)?) {
            let wrong = |named: &Spanned<String>, what: String| {
                let line = product.source.position(named.span.start).line;
                CliError::check_failed(format!("{}:{line}: {what}", product.source.path()))
                    .hint("`compass check` shows where")
            };
            if let Some(mode) = mode {
                let what = || wrong(mode, format!("`{}` are no permissions in octal", mode.value));
                found = found.with_mode(u32::from_str_radix(&mode.value, 8).map_err(|_| what())?);
            }
            found.require_usable().map_err(|error| wrong(path, error.to_string()))?;
            files.push(found);
            paths.push(source.value.clone());
        }
        Ok(files)
    }

    /// Files of the repository under the names that they have in a package, whether the rules read
    /// them or not. Links are not followed.
    fn read<'p>(
        &self,
        named: impl IntoIterator<Item = (&'p str, String)>,
    ) -> Result<Vec<ContentFile>, CliError> {
        let (paths, names): (Vec<&str>, Vec<String>) = named.into_iter().unzip();
        let is_file = |path: &&&str| self.checkout.kind(path) == Some(FileKind::Regular);
        if let Some(path) = paths.iter().find(|path| !is_file(path)) {
            return Err(CliError::check_failed(format!(
                "{} is not a file of the repository",
                escape(path)
            ))
            .hint("`compass check` shows which file names it"));
        }
        let contents = self.checkout.read_exactly(&paths)?;
        for (path, bytes) in paths.iter().zip(&contents) {
            if has_conflict_markers(bytes) {
                let message =
                    format!("{} has conflict markers of an unfinished merge", escape(path));
                return Err(CliError::check_failed(message).hint("resolve the conflict"));
            }
        }
        Ok(names
            .into_iter()
            .zip(contents)
            .map(|(name, bytes)| ContentFile::new(name, bytes))
            .collect())
    }
}

/// `project/name:tag` a line, as image lists have it.
fn image_list(images: &[TargetImage]) -> String {
    let lines: BTreeSet<String> = images
        .iter()
        .map(|image| {
            let name = image.release.repository();
            let version = image.release.to_string();
            let at = version.find(name.as_str()).unwrap_or_default();
            format!("{}\n", &version[at..])
        })
        .collect();
    lines.into_iter().collect()
}

/// The product version of a hotfix, where its version says another, or none: teams name components
/// by versions of their own. Stores write it with `v`.
fn base_beside(base: &str, version: &str) -> Option<String> {
    let (base, version) = (base.trim_start_matches('v'), version.trim_start_matches('v'));
    let begins_so = version.strip_prefix(base).is_some_and(|rest| rest.starts_with('-'));
    (!begins_so).then(|| format!("v{base}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hotfix_says_its_product_version_where_its_own_is_another() {
        for (base, version, beside) in [
            ("v2.7.0", "v2.7.0-20180605-p1", None),
            ("2.7.0", "v2.7.0-20180605-p1", None),
            ("2.7.0", "v3.1.55-20180724-p5", Some("v2.7.0")),
            ("2.7.1-GA", "v0.4.2", Some("v2.7.1-GA")),
            ("2.7.1", "v2.7.10-20180605-p1", Some("v2.7.1")),
        ] {
            assert_eq!(base_beside(base, version).as_deref(), beside, "{base} {version}");
        }
    }
}
