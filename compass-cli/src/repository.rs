//! The release repository on disk.

mod load;
mod target;
mod target_image;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use compass_manifest::policy::POLICY_FILE;
use compass_manifest::{Policy, Report, Tree};

use crate::checkout::Checkout;
use crate::error::{CliError, Result};
use crate::global_args::GlobalArgs;
use crate::rule_files::{READ_LIMIT, read_rule_files};

use load::{read_policy, read_tree};
pub(crate) use target::{Plugin, Target};
pub(crate) use target_image::{TargetImage, hotfix_images};

/// The release repository: its files, its policy, and the tree that the rules read.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    pub(crate) root: PathBuf,
    pub(crate) policy: Policy,
    pub(crate) tree: Tree,
    pub(crate) checkout: Checkout,
    /// All findings, without the severities and suppressions of the policy.
    pub(crate) unfiltered: OnceLock<Report>,
}

impl Repository {
    /// Opens the repository of `--repo`, or the one around the current directory.
    pub(crate) fn open(global: &GlobalArgs) -> Result<Self> {
        let root = match &global.repo {
            Some(root) if root.is_dir() => root.clone(),
            Some(root) => {
                return Err(CliError::usage(format!("{} is not a directory", root.display())));
            }
            None => enclosing_root()?,
        };
        let checkout = Checkout::open(&root, global.repo.is_some())?;
        let policy = read_policy(&root, global.policy.as_deref(), &checkout)?;
        let tree = read_tree(&checkout, &policy)?;
        Ok(Self { root, policy, tree, checkout, unfiltered: OnceLock::new() })
    }

    /// An empty repository, with the policy of `--policy` or the built-in one.
    pub(crate) fn policy_only(global: &GlobalArgs) -> Result<Self> {
        let root = PathBuf::from(".");
        let policy = match &global.policy {
            Some(policy) => read_policy(&root, Some(policy), &Checkout::default())?,
            None => Policy::default(),
        };
        Ok(Self { root, policy, ..Self::default() })
    }

    /// Whether the current directory is in a release repository.
    pub(crate) fn is_in_one() -> bool {
        enclosing_root().is_ok()
    }

    /// Reads the files that the rules need under another policy.
    pub(crate) fn read_files_for(&mut self, policy: &Policy) -> Result<()> {
        let checkout = &self.checkout;
        read_rule_files(&mut self.tree, policy, |paths| checkout.read(paths, READ_LIMIT))
    }
}

/// The nearest parent of the current directory that looks like a release repository.
fn enclosing_root() -> Result<PathBuf> {
    let current = std::env::current_dir().map_err(|error| CliError::external(&error))?;
    let markers = [POLICY_FILE, "release-plugins", "release-hotfixes", "release-products"];
    let is_root = |path: &&Path| markers.iter().any(|marker| path.join(marker).exists());
    current.ancestors().find(is_root).map(Path::to_owned).ok_or_else(|| {
        let message = format!("{} is not in a release repository", current.display());
        CliError::usage(message).hint("change to one, or use `--repo DIR`")
    })
}
