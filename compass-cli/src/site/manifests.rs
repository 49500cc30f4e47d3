//! Renders the release manifests of a package for the site.

use std::collections::BTreeSet;

use compass_bundle::Package;
use compass_bundle::document::BundleKind;
use compass_manifest::Policy;
use compass_manifest::escape::quote;
use compass_manifest::inventory;
use compass_manifest::site::{SiteError, SiteValues, UnsetVariable};
use compass_manifest::source::SourceFile;
use compass_registry::{Reference, RegistryPrefix, Secret};

use super::values::Values;
use crate::error::{CliError, Result};
use crate::image_usage::is_yaml;

/// The release manifests of one package.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    pub(crate) files: Vec<SourceFile>,
}

/// A release manifest with the values of the site.
#[derive(Clone)]
pub(crate) struct RenderedFile {
    /// The path below the directory of the package.
    pub(crate) path: String,
    /// The text for output and receipts, in which secret values are still variables.
    pub(crate) public: String,
    /// The text to hand over.
    pub(crate) full: String,
    /// The variables with secret values in this file.
    pub(crate) secret_variables: Vec<String>,
    /// Their values.
    pub(crate) secrets: Vec<Secret>,
}

impl RenderedFile {
    /// Whether a text may contain a part of a secret of this file.
    ///
    /// A text may quote a value with escapes, which leave letters and digits as they are.
    pub(crate) fn is_quoted_in(&self, text: &str) -> bool {
        let may_contain = |secret: &str| {
            let words = secret.split(|c: char| !c.is_ascii_alphanumeric());
            let mut words = words.filter(|word| !word.is_empty()).peekable();
            words.peek().is_none() || words.any(|word| text.contains(word))
        };
        self.secrets
            .iter()
            .map(Secret::reveal)
            .any(|secret| !secret.is_empty() && may_contain(secret))
    }
}

impl Manifests {
    /// Reads the release manifests of a package, in the order namespace, group, addon.
    ///
    /// A product's other files, such as scripts and their YAML, are not release manifests.
    pub(crate) async fn read(package: &Package) -> Result<Self> {
        let kind = package.as_bundle().map(|bundle| bundle.document().kind);
        let addons_only = kind == Some(BundleKind::Product);
        let mut files = Vec::new();
        for file in package.files() {
            let is_addon = file.path.starts_with("addons/");
            if !is_yaml(&file.path) || (addons_only && !is_addon) {
                continue;
            }
            let bytes = package.file(&file.path).await?;
            let text = String::from_utf8(bytes.to_vec()).map_err(|_| {
                CliError::check_failed(format!("{}: the text is not UTF-8", file.path))
            })?;
            files.push(SourceFile::new(file.path, text));
        }
        files.sort_by(|one, two| one.path().cmp(two.path()));
        Ok(Self { files })
    }

    /// Returns the names of all variables that the files use.
    pub(crate) fn variables(&self) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for file in &self.files {
            let uses =
                SiteValues::default().unset_variables(file).map_err(|error| invalid(&error))?;
            names.extend(uses.into_iter().map(|one| one.name));
        }
        Ok(names)
    }

    /// Returns an error for each use of a variable without a value.
    pub(crate) fn unset_variables(&self, values: &Values) -> Result<Vec<CliError>> {
        self.unset(&values.full(), |_| true)
    }

    /// Returns an error for each use of one of the variables without a value.
    pub(crate) fn unset_among(
        &self,
        names: &BTreeSet<String>,
        values: &Values,
    ) -> Result<Vec<CliError>> {
        self.unset(&values.only(names), |one| one.is_closed && names.contains(&one.name))
    }

    fn unset(
        &self,
        site: &SiteValues,
        counts: impl Fn(&UnsetVariable) -> bool,
    ) -> Result<Vec<CliError>> {
        let mut described = Vec::new();
        for file in &self.files {
            let unset = site.unset_variables(file).map_err(|error| invalid(&error))?;
            described.extend(unset.iter().filter(|one| counts(one)).map(describe_unset));
        }
        Ok(described)
    }

    /// Fills secrets into the files of a receipt, whose other variables and images are filled in.
    pub(crate) fn with_secrets(
        &self,
        names: &BTreeSet<String>,
        values: &Values,
    ) -> Result<Vec<RenderedFile>> {
        let site = values.only(names);
        let render = |file: &SourceFile| {
            let full = site.render(file).map_err(|error| invalid(&error))?;
            let variables = full.variables.into_iter();
            let secret_variables: Vec<_> = variables.filter(|name| names.contains(name)).collect();
            Ok(RenderedFile {
                path: file.path().to_owned(),
                public: file.text().to_owned(),
                full: full.text,
                secrets: values.texts_of(&secret_variables),
                secret_variables,
            })
        };
        self.files.iter().map(render).collect()
    }

    /// Fills in the values, and replaces the registries of images by the site's.
    pub(crate) fn render(
        &self,
        values: &Values,
        registry: &RegistryPrefix,
        policy: &Policy,
    ) -> Result<Vec<RenderedFile>> {
        let render = |file: &SourceFile| {
            let images = images_at(registry, policy, file)?;
            let with_images = |site: SiteValues| {
                images.iter().fold(site, |site, (old, new)| site.image(old, new))
            };
            let render = |site| with_images(site).render(file).map_err(|error| invalid(&error));
            let full = render(values.full())?;
            let variables = full.variables.into_iter();
            let secret: Vec<_> = variables.filter(|name| values.is_secret(name)).collect();
            let public = match secret.is_empty() {
                true => full.text.clone(),
                false => render(values.public())?.text,
            };
            Ok(RenderedFile {
                path: file.path().to_owned(),
                public,
                full: full.text,
                secrets: values.texts_of(&secret),
                secret_variables: secret,
            })
        };
        self.files.iter().map(render).collect()
    }
}

/// Returns the image references of a file that contain a registry, with their references at the
/// site.
fn images_at(
    registry: &RegistryPrefix,
    policy: &Policy,
    file: &SourceFile,
) -> Result<Vec<(String, String)>> {
    let used = inventory::file_images(file.path(), file.text().as_bytes(), policy);
    let used = used.map_err(|(line, error)| {
        CliError::check_failed(format!("{}:{line}: {}", file.path(), error.message))
    })?;
    let mut images = Vec::new();
    for image in used {
        let written = &image.image_use.written;
        let has_host = image.image_use.image.as_ref().is_ok_and(|image| image.host.is_some());
        if has_host && let Ok(reference) = written.parse::<Reference>() {
            images.push((written.clone(), reference.rebase(registry)?.to_string()));
        }
    }
    Ok(images)
}

fn describe_unset(unset: &UnsetVariable) -> CliError {
    let UnsetVariable { name, location, is_closed, .. } = unset;
    let quoted = quote(name);
    match is_closed {
        true => CliError::check_failed(format!("{location}: {quoted} has no value"))
            .hint(format!(
                "set it with `--set {name}=VALUE`, in a file of `--values FILE`, or, if it is a secret, \
                 with `--set-file {name}=FILE`"
            )),
        false => CliError::check_failed(format!("{location}: the variable {quoted} is not closed")),
    }
}

fn invalid(error: &SiteError) -> CliError {
    CliError::check_failed(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_quoted_in_finds_escaped_secrets() {
        let file = |secret: &str| RenderedFile {
            path: "a.yaml".to_owned(),
            public: String::new(),
            full: String::new(),
            secret_variables: Vec::new(),
            secrets: vec![Secret::new(secret)],
        };
        for (secret, text, expected) in [
            ("hunter2-'\"", r#"invalid value "hunter2-\u0027\"""#, true),
            ("a\nlong key\n", "line 2: key", true),
            ("'\"", "anything", true),
            ("hunter2", "the database is down", false),
            ("", "anything", false),
        ] {
            assert_eq!(file(secret).is_quoted_in(text), expected, "{secret} {text}");
        }
    }
}
