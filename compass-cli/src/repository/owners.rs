//! The owners of targets, from the policy and from OWNERS files.

use compass_manifest::EntryKind;
use compass_manifest::review::{Owners, TargetOwners};

use super::{Repository, Target};
use crate::error::{CliError, Result};
use crate::git::Git;
use crate::rule_files::READ_LIMIT;

/// The OWNERS files that apply to a path, with their contents.
type OwnersFiles = Vec<(String, Vec<u8>)>;

impl Repository {
    /// The owners of targets that have any: those of the policy, otherwise those of the OWNERS files in
    /// the work tree.
    pub(crate) fn owners(&self, targets: &[String]) -> Result<Vec<TargetOwners>> {
        self.owners_from(targets, |path| self.owners_files(path))
    }

    /// The owners of targets, with the OWNERS files of a commit.
    ///
    /// A pull request can change the files at its head, so those of its base decide.
    pub(crate) fn owners_at(
        &self,
        targets: &[String],
        git: &Git,
        commit: &str,
    ) -> Result<Vec<TargetOwners>> {
        self.owners_from(targets, |path| git.owners_files(commit, path))
    }

    fn owners_from(
        &self,
        targets: &[String],
        files: impl Fn(&str) -> Result<OwnersFiles>,
    ) -> Result<Vec<TargetOwners>> {
        let mut found = Vec::new();
        for target in Target::parse_all(targets)? {
            let (shown, name, path) = self.owned(target)?;
            let mut accounts = self.policy.review.owners_of(&name);
            if accounts.is_empty() {
                let files = files(&path)?;
                let files = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()));
                let owners = Owners::read(files).map_err(|error| {
                    CliError::check_failed(error).hint("docs/review.md, \"Owners\", has the format")
                })?;
                accounts = owners.of(&path);
            }
            found.extend(TargetOwners::new(shown, accounts));
        }
        Ok(found)
    }

    /// Returns the words for a target in messages, its name, and the path of its manifest.
    fn owned(&self, target: Target<'_>) -> Result<(String, String, String)> {
        Ok(match target {
            Target::Plugin(name) => {
                let path = self.plugin_manifest(name)?.source.path().to_owned();
                (format!("plugin {name}"), name.to_owned(), path)
            }
            Target::Hotfix(name) => {
                let hotfix = self.hotfixes(name)?.swap_remove(0);
                let path = hotfix.source.path().to_owned();
                (format!("hotfix {name}"), hotfix.addon.unwrap_or_default(), path)
            }
            Target::Product(version) => {
                let product = self.product(version)?;
                let name = product.manifest.name.map(|name| name.value).unwrap_or_default();
                (format!("product {version}"), name, product.source.path().to_owned())
            }
        })
    }

    fn owners_files(&self, path: &str) -> Result<OwnersFiles> {
        let mut files = Owners::files_for(&self.tree, path);
        files.retain(|file| self.checkout.kind(file) == Some(EntryKind::File));
        let paths: Vec<&str> = files.iter().map(String::as_str).collect();
        let contents = self.checkout.read(&paths, READ_LIMIT)?;
        Ok(files.into_iter().zip(contents).collect())
    }
}
