//! The values of template variables, from the registry, the environment, files and arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use compass_manifest::Policy;
use compass_manifest::escape::quote;
use compass_manifest::policy::TemplateValue;
use compass_manifest::site::SiteValues;
use compass_manifest::source::SourceFile;
use compass_manifest::yaml::{self, Node};
use compass_registry::{RegistryPrefix, Secret};

use crate::error::{CliError, Result};

/// Environment variables with this prefix set template variables.
const ENVIRONMENT_PREFIX: &str = "COMPASS_VALUE_";

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Values of template variables")]
pub(crate) struct ValueArgs {
    /// A YAML file with values, as `name: value`
    ///
    /// A name with dots may be written as nested mappings.
    #[arg(long, value_name = "FILE")]
    values: Vec<PathBuf>,
    /// Sets a variable to the text after the `=`
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Sets a variable to the content of a file, as a secret
    ///
    /// The newline at the end of the file is omitted. No output, log or receipt contains the value.
    #[arg(long, value_name = "NAME=FILE")]
    set_file: Vec<String>,
}

/// The values of the variables.
#[derive(Debug, Default)]
pub(crate) struct Values {
    texts: BTreeMap<String, String>,
    secrets: BTreeMap<String, Secret>,
    /// The variables that the command line names one by one.
    named: Vec<String>,
}

impl Values {
    /// Collects the values of the variables that files use. Arguments win over files, files over the
    /// environment, and the environment over the values that follow from the registry.
    pub(crate) fn resolve(
        args: &ValueArgs,
        registry: &RegistryPrefix,
        policy: &Policy,
        used: &BTreeSet<String>,
    ) -> Result<Self> {
        let mut values = Self::default();
        for name in used {
            if let Some(TemplateValue::Project(project)) = policy.templates.get(name) {
                values.texts.insert(name.clone(), project_at(registry, policy, project));
            }
            if let Some(value) = from_environment(name)? {
                values.texts.insert(name.clone(), value);
            }
        }
        for path in &args.values {
            values.read_file(path)?;
        }
        for argument in &args.set {
            let (name, value) = split("--set", argument)?;
            values.texts.insert(name.to_owned(), value.to_owned());
            values.named.push(name.to_owned());
        }
        for argument in &args.set_file {
            let (name, path) = split("--set-file", argument)?;
            values.texts.remove(name);
            values.secrets.insert(name.to_owned(), read_secret(Path::new(path))?);
            values.named.push(name.to_owned());
        }
        Ok(values)
    }

    /// Returns all values, for the files that are handed over.
    pub(crate) fn full(&self) -> SiteValues {
        let secrets = self.secrets.iter().map(|(name, secret)| (name, secret.reveal()));
        secrets.fold(self.public_texts(), |site, (name, secret)| site.variable(name, secret))
    }

    /// Returns the values of some variables. Rendering leaves other variables as they are.
    pub(crate) fn only(&self, names: &BTreeSet<String>) -> SiteValues {
        let values = names.iter().filter_map(|name| Some((name, self.text(name)?)));
        let site = SiteValues::default().keep_unset();
        values.fold(site, |site, (name, value)| site.variable(name, value))
    }

    /// Returns the values of variables whose values are secret.
    pub(crate) fn texts_of(&self, names: &[String]) -> Vec<Secret> {
        names.iter().filter_map(|name| self.text(name)).map(Secret::new).collect()
    }

    fn text(&self, name: &str) -> Option<&str> {
        let secret = self.secrets.get(name).map(Secret::reveal);
        secret.or_else(|| self.texts.get(name).map(String::as_str))
    }

    /// Returns the values for output and receipts, in which secrets stay variables.
    pub(crate) fn public(&self) -> SiteValues {
        let names = self.secrets.keys();
        names.fold(self.public_texts(), |site, name| site.variable(name, format!("[[ {name} ]]")))
    }

    fn public_texts(&self) -> SiteValues {
        let texts = self.texts.iter();
        texts.fold(SiteValues::default(), |site, (name, value)| site.variable(name, value))
    }

    /// Whether the value of a variable is a secret.
    pub(crate) fn is_secret(&self, name: &str) -> bool {
        self.secrets.contains_key(name)
    }

    /// Returns the variables that arguments set and no file uses.
    pub(crate) fn unused<'v>(
        &'v self,
        used: &'v BTreeSet<String>,
    ) -> impl Iterator<Item = &'v str> {
        self.named.iter().map(String::as_str).filter(|name| !used.contains(*name))
    }

    fn read_file(&mut self, path: &Path) -> Result<()> {
        let bytes = std::fs::read(path)
            .map_err(|error| CliError::usage(format!("cannot read {}: {error}", path.display())))?;
        let (source, document) = yaml::read(&path.display().to_string(), &bytes);
        let root = document.map_err(|error| invalid(&source, error.span.start, &error.message))?;
        self.add_values(&source, &root, "")
    }

    fn add_values(&mut self, source: &SourceFile, node: &Node, prefix: &str) -> Result<()> {
        let mismatch = |node: &Node, what: String| {
            let expected = "expected `name: value` with a text, a number or a boolean";
            Err(invalid(
                source,
                node.span.start,
                &format!("{what} is {}: {expected}", node.describe()),
            ))
        };
        if node.entries().is_empty() && node.text().is_some_and(|text| !text.is_empty()) {
            return mismatch(node, "the file".to_owned());
        }
        for entry in node.entries() {
            let Some(key) = entry.key.text() else {
                return mismatch(&entry.key, "a key".to_owned());
            };
            let name = format!("{prefix}{key}");
            match entry.value.text() {
                _ if !entry.value.entries().is_empty() => {
                    self.add_values(source, &entry.value, &format!("{name}."))?;
                }
                Some(text) if !entry.value.is_null() => {
                    drop(self.texts.insert(name, text.to_owned()))
                }
                _ => return mismatch(&entry.value, quote(name)),
            }
        }
        Ok(())
    }
}

/// Returns the place of a project at the site, as `install` pushes its images.
fn project_at(registry: &RegistryPrefix, policy: &Policy, project: &str) -> String {
    match registry.project.is_empty() {
        false => registry.to_string(),
        true => {
            let names = policy.registries.projects.get(project);
            let project = names.map_or(project, |names| &names.release);
            format!("{}/{project}", registry.host).trim_end_matches('/').to_owned()
        }
    }
}

/// Returns the value of a variable in the environment.
///
/// Shells do not accept dots and dashes in names, so these may be written as `_`, and letters in
/// capitals.
fn from_environment(name: &str) -> Result<Option<String>> {
    let in_capitals = name.to_ascii_uppercase().replace(['.', '-'], "_");
    for name in [name, &in_capitals] {
        let variable = format!("{ENVIRONMENT_PREFIX}{name}");
        match std::env::var(&variable) {
            Ok(value) => return Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => {}
            Err(std::env::VarError::NotUnicode(_)) => {
                return Err(CliError::usage(format!("the value of {variable} is not UTF-8")));
            }
        }
    }
    Ok(None)
}

fn split<'a>(option: &str, argument: &'a str) -> Result<(&'a str, &'a str)> {
    match argument.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        // The argument may be a secret, so the message does not repeat it.
        _ => Err(CliError::usage(format!("`{option}` needs NAME=VALUE"))
            .hint(format!("write `{option} registry_release=…`"))),
    }
}

fn read_secret(path: &Path) -> Result<Secret> {
    let failed = |why: String| CliError::usage(format!("cannot read {}: {why}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8".to_owned()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text)))
}

fn invalid(source: &SourceFile, offset: usize, what: &str) -> CliError {
    let position = source.position(offset);
    CliError::usage(format!("{}:{}:{}: {what}", source.path(), position.line, position.column))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn values_file_is_read_or_located(text in "([a-c.]{1,3}:( [0-9a-z\\[{'\"|~&*-]{0,4})?\n ?){0,5}|.{0,30}") {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let mut values = Values::default();
            match values.read_file(file.path()) {
                Ok(()) => prop_assert!(values.secrets.is_empty() && values.named.is_empty()),
                Err(error) => {
                    let place = error.message.trim_start_matches(&*file.path().to_string_lossy());
                    prop_assert!(place.starts_with(':'), "{}", error.message);
                }
            }
        }
    }
}
