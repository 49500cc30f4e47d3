//! The files and images of the package of a target.

use std::collections::BTreeSet;

use compass_bundle::FileEntry;
use compass_bundle::document::BundleKind;
use compass_manifest::escape::escape;
use compass_manifest::inventory::Product;
use compass_manifest::source::Spanned;
use compass_manifest::{EntryKind, has_conflict_markers};

use crate::error::{CliError, Result};
use crate::repository::{Plugin, Repository, Target, TargetImage};

/// The contents of a package before its images are resolved.
#[derive(Debug)]
pub(crate) struct ReleaseContents {
    pub(crate) kind: BundleKind,
    pub(crate) name: String,
    pub(crate) version: String,
    /// The product version of a hotfix whose own version does not start with it.
    pub(crate) base: Option<String>,
    /// The paths in the repository whose last change determines the commit and time of the package.
    pub(crate) paths: Vec<String>,
    pub(crate) files: Vec<FileEntry>,
    pub(crate) images: Vec<TargetImage>,
}

impl Repository {
    /// The files at or below paths.
    pub(crate) fn files_below(&self, paths: &[String]) -> BTreeSet<String> {
        let is_below = |file: &&str| {
            paths.iter().any(|path| {
                let rest = file.strip_prefix(path.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        self.tree.paths().filter(is_below).map(str::to_owned).collect()
    }

    /// The contents of the package of a target.
    pub(crate) fn release_contents(&self, target: &[String]) -> Result<ReleaseContents> {
        match Target::parse_all(target)?[..] {
            [Target::Plugin(name)] => self.plugin_contents(self.plugin(name)?),
            [Target::Hotfix(name)] => self.hotfix_contents(name),
            [Target::Product(version)] => self.product_contents(version),
            _ => Err(CliError::usage("cannot package more than one target")),
        }
    }

    fn plugin_contents(&self, plugin: Plugin) -> Result<ReleaseContents> {
        let path = plugin.source.path();
        let name = format!("{}.yaml", plugin.name);
        Ok(ReleaseContents {
            kind: BundleKind::Plugin,
            base: None,
            paths: vec![path.to_owned()],
            files: self.read([(path, name)])?,
            name: plugin.name,
            version: plugin.version,
            images: plugin.images,
        })
    }

    fn hotfix_contents(&self, name: &str) -> Result<ReleaseContents> {
        let hotfixes = self.hotfixes(name)?;
        let Some(first) = hotfixes.first() else {
            return Err(CliError::usage(format!("there is no hotfix `{name}`")));
        };
        let invalid = |what: &str| CliError::invalid_file(&first.source, what);
        let addon = first.addon.clone().ok_or_else(|| invalid("it names no addon"))?;
        let version = first.version.clone().ok_or_else(|| invalid("it has no version"))?;
        if hotfixes.iter().any(|other| other.addon.as_deref() != Some(&addon)) {
            return Err(invalid("a hotfix package can only patch one addon"));
        }
        let named = hotfixes.iter().map(|hotfix| {
            let path = hotfix.source.path();
            let inside = path.strip_prefix(&hotfix.package).unwrap_or(path);
            (path, inside.trim_start_matches('/').to_owned())
        });
        let files = self.read(named)?;
        let paths = hotfixes.iter().map(|hotfix| hotfix.source.path().to_owned()).collect();
        let base = first.base.as_deref().and_then(|base| base_in_name(base, &version));
        let images =
            self.distinct_images(hotfixes.into_iter().flat_map(|hotfix| hotfix.images).collect())?;
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

    fn product_contents(&self, version: &str) -> Result<ReleaseContents> {
        let product = self.product(version)?;
        let path = product.source.path().to_owned();
        let invalid = |what: &str| CliError::invalid_file(&product.source, what);
        let text = |value: &Option<Spanned<String>>| value.as_ref().map(|text| text.value.clone());
        let name = text(&product.manifest.name);
        let name = name.ok_or_else(|| invalid("it has no `metadata.name`"))?;
        let written = text(&product.manifest.version);
        let written = written.ok_or_else(|| invalid("it has no `spec.version`"))?;
        // Manifests may omit the `v`; file names always have it.
        let version = format!("v{}", written.trim_start_matches('v'));
        let images = self.distinct_images(product.images.clone())?;
        let mut files = self.read([(path.as_str(), "product.yaml".to_owned())])?;
        files.push(FileEntry::new("images.list", image_list(&images)));
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

    /// The files of the addons directory; adds the directory to `paths`.
    fn addon_files(&self, product: &Product, paths: &mut Vec<String>) -> Result<Vec<FileEntry>> {
        let Some(directory) = product.manifest.addons_directory() else { return Ok(Vec::new()) };
        let files = self.read(self.tree.paths().filter_map(|path| {
            Some((path, format!("addons/{}", product.manifest.path_in_addons(path)?)))
        }))?;
        if !files.is_empty() {
            paths.push(directory.to_owned());
        }
        Ok(files)
    }

    /// The files of `spec.files`; adds their sources to `paths`.
    fn extra_files(&self, product: &Product, paths: &mut Vec<String>) -> Result<Vec<FileEntry>> {
        let named = product.manifest.files.iter().filter_map(|file| {
            Some((file.source.as_ref()?, file.path.as_ref()?, file.mode.as_ref()))
        });
        let named: Vec<_> = named.collect();
        let contents = named.iter().map(|(source, path, _)| (&*source.value, path.value.clone()));
        let mut files = Vec::new();
        for ((source, path, mode), mut content) in named.iter().zip(self.read(contents)?) {
            let invalid = |named: &Spanned<String>, what: String| {
                let line = product.source.position(named.span.start).line;
                CliError::check_failed(format!("{}:{line}: {what}", product.source.path()))
                    .with_check_hint()
            };
            if let Some(mode) = mode {
                let what = || invalid(mode, format!("`{}` is not an octal mode", mode.value));
                content = content.mode(u32::from_str_radix(&mode.value, 8).map_err(|_| what())?);
            }
            content.validate().map_err(|error| invalid(path, error.to_string()))?;
            files.push(content);
            paths.push(source.value.clone());
        }
        Ok(files)
    }

    /// Reads files of the repository, each with its name in the package. Links are not followed.
    fn read<'p>(
        &self,
        named: impl IntoIterator<Item = (&'p str, String)>,
    ) -> Result<Vec<FileEntry>> {
        let (paths, names): (Vec<&str>, Vec<String>) = named.into_iter().unzip();
        let is_file = |path: &&&str| self.checkout.kind(path) == Some(EntryKind::File);
        if let Some(path) = paths.iter().find(|path| !is_file(path)) {
            return Err(CliError::check_failed(format!(
                "{} is not a regular file of the repository",
                escape(path)
            ))
            .hint("`compass check` shows the file that names it"));
        }
        let contents = self.checkout.read_exactly(&paths)?;
        for (path, bytes) in paths.iter().zip(&contents) {
            if has_conflict_markers(bytes) {
                let message = format!("{} has merge conflict markers", escape(path));
                return Err(CliError::check_failed(message).hint("resolve the conflict"));
            }
        }
        Ok(names
            .into_iter()
            .zip(contents)
            .map(|(name, bytes)| FileEntry::new(name, bytes))
            .collect())
    }
}

/// An image list: one `project/name:tag` in each line.
fn image_list(images: &[TargetImage]) -> String {
    let lines: BTreeSet<String> = images
        .iter()
        .map(|image| {
            let name = image.release.repository();
            let reference = image.release.to_string();
            let at = reference.find(name.as_str()).unwrap_or_default();
            format!("{}\n", &reference[at..])
        })
        .collect();
    lines.into_iter().collect()
}

/// Returns the product version of a hotfix whose own version does not start with it.
///
/// Some teams have their own versions. Names in stores always have the `v`.
fn base_in_name(base: &str, version: &str) -> Option<String> {
    let (base, version) = (base.trim_start_matches('v'), version.trim_start_matches('v'));
    let is_prefix = version.strip_prefix(base).is_some_and(|rest| rest.starts_with('-'));
    (!is_prefix).then(|| format!("v{base}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_in_name_own_version_is_some() {
        for (base, version, expected) in [
            ("v2.7.0", "v2.7.0-20180605-p1", None),
            ("2.7.0", "v2.7.0-20180605-p1", None),
            ("2.7.0", "v3.1.55-20180724-p5", Some("v2.7.0")),
            ("2.7.1-GA", "v0.4.2", Some("v2.7.1-GA")),
            ("2.7.1", "v2.7.10-20180605-p1", Some("v2.7.1")),
        ] {
            assert_eq!(base_in_name(base, version).as_deref(), expected, "{base} {version}");
        }
    }
}
