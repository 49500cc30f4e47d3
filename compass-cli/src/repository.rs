//! The release repository on disk.

mod load;
mod owners;
mod target;
mod target_image;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use compass_manifest::policy::POLICY_FILE;
use compass_manifest::{Policy, ReleaseRepository, Report, Tree};

use crate::built_in_policy::BUILT_IN_POLICY;
use crate::checkout::Checkout;
use crate::error::{CliError, Result};
use crate::git::PrivateClone;
use crate::global_args::GlobalArgs;
use crate::rule_files::{READ_LIMIT, read_rule_files};

use load::{read_policy, read_tree};
pub(crate) use target::{Plugin, Target, TargetArgs};
pub(crate) use target_image::TargetImage;

/// The release repository: its files, its policy, and the tree that the rules read.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    pub(crate) root: PathBuf,
    /// The directory that the paths of certificates and keys in the policy are relative to.
    pub(crate) settings: PathBuf,
    pub(crate) policy: Arc<Policy>,
    pub(crate) tree: Tree,
    /// The parsed files. A command parses them once.
    release: OnceLock<ReleaseRepository>,
    pub(crate) checkout: Checkout,
    /// All findings, without the severities and suppressions of the policy.
    pub(crate) unfiltered: OnceLock<Report>,
}

impl Repository {
    /// Opens the repository of `--repo`, or the one around the current directory.
    pub(crate) fn open(global: &GlobalArgs) -> Result<Self> {
        let root = Self::find_root(global)?;
        let checkout = Checkout::open(&root, global.repo.is_some())?;
        let policy = read_policy(&root, global.policy.as_deref(), &checkout)?;
        let repository = Self::with_policy(root, checkout, policy)?;
        let has_files = repository.tree.files().next().is_some();
        match has_files || global.policy.is_some() || is_root(&repository.root) {
            true => Ok(repository),
            false => Err(not_a_repository(&repository.root)),
        }
    }

    /// Reads the files that the rules need under a policy.
    pub(crate) fn with_policy(root: PathBuf, checkout: Checkout, policy: Policy) -> Result<Self> {
        let tree = read_tree(&checkout, &policy)?;
        let (settings, policy) = (root.clone(), Arc::new(policy));
        Ok(Self { root, settings, policy, tree, checkout, ..Self::default() })
    }

    /// Opens a private clone with the policy of another repository, whose certificates and keys are in
    /// `settings`.
    pub(crate) fn open_clone(
        clone: &PrivateClone,
        policy: Policy,
        settings: PathBuf,
    ) -> Result<Self> {
        let root = clone.root();
        let checkout = Checkout::of_clone(&root, Arc::clone(&clone.git))?;
        let tree = read_tree(&checkout, &policy)?;
        let policy = Arc::new(policy);
        Ok(Self { root, settings, policy, tree, checkout, ..Self::default() })
    }

    /// The directory of `--repo`, or the release repository around the current directory.
    pub(crate) fn find_root(global: &GlobalArgs) -> Result<PathBuf> {
        match &global.repo {
            Some(root) if root.is_dir() => Ok(root.clone()),
            Some(root) => Err(CliError::usage(format!("{} is not a directory", root.display()))),
            None => enclosing_root(),
        }
    }

    /// An empty repository, with the policy of `--policy` or the built-in one. The certificates and keys
    /// of the policy are beside it.
    pub(crate) fn policy_only(global: &GlobalArgs) -> Result<Self> {
        let root = PathBuf::from(".");
        let policy = match &global.policy {
            Some(policy) => read_policy(&root, Some(policy), &Checkout::default())?,
            None => BUILT_IN_POLICY.clone(),
        };
        let directory = global.policy.as_ref().and_then(|policy| policy.parent());
        let settings = directory.unwrap_or(&root).to_owned();
        Ok(Self { root, settings, policy: Arc::new(policy), ..Self::default() })
    }

    /// The repository of `--repo`. A site has none, so without the option, only the policy is read.
    pub(crate) fn at_site(global: &GlobalArgs) -> Result<Self> {
        match global.repo {
            Some(_) => Self::open(global),
            None => Self::policy_only(global),
        }
    }

    /// Whether the current directory is in a release repository.
    pub(crate) fn is_in_one() -> bool {
        enclosing_root().is_ok()
    }

    /// Replaces the policy, and reads the files that the rules need under it; returns the previous
    /// policy.
    pub(crate) fn replace_policy(&mut self, policy: Policy) -> Result<Arc<Policy>> {
        let checkout = &self.checkout;
        let tree = &mut self.tree;
        read_rule_files(tree, &policy, |paths| checkout.read(paths, READ_LIMIT))?;
        self.release = OnceLock::new();
        Ok(std::mem::replace(&mut self.policy, Arc::new(policy)))
    }

    /// The parsed repository.
    pub(crate) fn release(&self) -> &ReleaseRepository {
        self.release.get_or_init(|| self.parse(self.tree.clone()))
    }

    /// Parses another state of the repository under the same policy.
    pub(crate) fn parse(&self, tree: Tree) -> ReleaseRepository {
        tracing::debug!("parse the release repository");
        ReleaseRepository::load(tree, Arc::clone(&self.policy))
    }

    /// Parses the states of the repository at product versions.
    pub(crate) fn parse_all(
        &self,
        products: BTreeMap<String, Tree>,
    ) -> BTreeMap<String, ReleaseRepository> {
        products.into_iter().map(|(version, tree)| (version, self.parse(tree))).collect()
    }
}

/// The nearest parent of the current directory that looks like a release repository.
fn enclosing_root() -> Result<PathBuf> {
    let current = std::env::current_dir().map_err(|error| CliError::external(&error))?;
    current.ancestors().find(|path| is_root(path)).map(Path::to_owned).ok_or_else(|| {
        let message = format!("{} is not in a release repository", current.display());
        CliError::usage(message).hint("change to one, or use `--repo DIR`")
    })
}

/// Entries in the root of a release repository.
const ROOT_ENTRIES: [&str; 4] =
    [POLICY_FILE, "release-plugins", "release-hotfixes", "release-products"];

/// Whether a directory looks like the root of a release repository.
fn is_root(directory: &Path) -> bool {
    ROOT_ENTRIES.iter().any(|entry| directory.join(entry).exists())
}

/// The error for a directory in which there is nothing to check.
fn not_a_repository(directory: &Path) -> CliError {
    let error = CliError::usage(format!("{} is not a release repository", directory.display()));
    let absolute = directory.canonicalize().unwrap_or_default();
    error.hint(match absolute.ancestors().find(|path| is_root(path)) {
        Some(root) => format!("use `--repo {}`", root.display()),
        None => format!("its root contains one of `{}`", ROOT_ENTRIES.join("`, `")),
    })
}
