//! Defines the facts about a pull request, which the caller looks up.

use std::collections::{BTreeMap, BTreeSet};

use crate::image::ImageReference;

use super::owners::TargetOwners;
use super::queue::{Role, same};
use super::statement::Statement;

/// The known facts about a pull request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Facts {
    /// The login of its author.
    pub author: String,
    /// The roles of accounts, by login, without [`Role::AUTHOR`], which `author` implies.
    pub roles: BTreeMap<String, BTreeSet<Role>>,
    /// The current labels, such as `queue/need-queue` and `kind/release`.
    pub labels: Vec<String>,
    /// The current body.
    pub body: String,
    /// The current comments, oldest first.
    pub comments: Vec<Comment>,
    /// The number of errors that `check` finds; `None` if `check` was not run.
    pub check_errors: Option<usize>,
    /// The images of the changed release manifests; `None` if they are not known.
    pub images: Option<Vec<ReleaseImage>>,
    /// Whether the store has the bundle, and the bundle is valid.
    pub bundle: Evidence,
    /// The steps that were granted earlier, as the caller recorded them; `None` if it keeps no
    /// record. With a record, the labels of the pull request decide nothing.
    pub granted: Option<Vec<Grant>>,
    /// Identifies the contents of the release files at the head. A grant for other contents does
    /// not count.
    pub release_files: String,
    /// Whether the release files changed after the body was written. Requests of the body for later
    /// steps than the first do not count then.
    pub is_body_outdated: bool,
    /// The owners of the targets.
    pub owners: Vec<TargetOwners>,
}

/// A comment on a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Comment {
    /// The login of its author.
    pub author: String,
    /// Its text.
    pub text: String,
    /// Identifies the comment on the forge; 0 if it is not known.
    pub id: u64,
    /// The time when it was written, in seconds since 1970; 0 if it is not known.
    pub written: i64,
    /// Whether its commands count.
    pub validity: Validity,
}

/// Whether the commands of a comment count, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Validity {
    /// The commands count.
    #[default]
    Valid,
    /// The text was changed after it was written, perhaps by another account.
    Edited,
    /// The release files changed after the comment was written.
    Outdated,
}

/// A step that was granted for some contents of the release files.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The label after the step, without `queue/`.
    pub to: String,
    /// The login of the account that requested it.
    pub by: String,
    /// The comment with the request; `None` for the body.
    pub comment: Option<u64>,
    /// The time of the request, in seconds since 1970.
    pub written: i64,
    /// The contents of the release files, as [`Facts::release_files`].
    pub release_files: String,
}

/// An image that a release manifest needs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReleaseImage {
    /// The reference in the source registry.
    pub source: ImageReference,
    /// The reference in the release registry.
    pub release: ImageReference,
    /// Whether the source registry has the image.
    pub in_source: Evidence,
    /// Whether the release registry has the image with the digest of the source.
    pub in_release: Evidence,
}

/// The truth of a fact in three-valued logic, which has no further values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// The fact is true.
    Yes,
    /// The fact is false, with the reason, such as `the tag does not exist`.
    No(Statement),
    /// The fact is unknown, with the reason, such as `the registry was not contacted`.
    Unknown(Statement),
}

impl ReleaseImage {
    /// Creates an image whose presence in the registries is unknown.
    pub fn new(source: ImageReference, release: ImageReference) -> Self {
        let unknown = Evidence::Unknown(Statement::RegistryNotAsked);
        Self { source, release, in_source: unknown.clone(), in_release: unknown }
    }
}

impl Comment {
    /// Creates a comment whose commands count.
    pub fn new(author: impl Into<String>, text: impl Into<String>) -> Self {
        Self { author: author.into(), text: text.into(), ..Self::default() }
    }
}

impl Grant {
    /// Creates the grant of a step that the body requested.
    pub fn new(to: impl Into<String>, by: impl Into<String>, files: impl Into<String>) -> Self {
        let (to, by, release_files) = (to.into(), by.into(), files.into());
        Self { to, by, comment: None, written: 0, release_files }
    }
}

impl Facts {
    /// Creates the facts for an author and a body, with all other facts unknown or empty.
    pub fn new(author: impl Into<String>, body: impl Into<String>) -> Self {
        Self {
            author: author.into(),
            roles: BTreeMap::new(),
            labels: Vec::new(),
            body: body.into(),
            comments: Vec::new(),
            check_errors: None,
            images: None,
            bundle: Evidence::Unknown(Statement::StoreNotAsked),
            granted: None,
            release_files: String::new(),
            is_body_outdated: false,
            owners: Vec::new(),
        }
    }

    /// Adds the owners of a target, who get [`Role::OWNER`].
    pub fn add_owners(&mut self, owners: TargetOwners) {
        for account in &owners.accounts {
            self.grant_role(account, Role::OWNER);
        }
        self.owners.push(owners);
    }

    /// Adds a role to an account.
    pub fn grant_role(&mut self, login: impl Into<String>, role: &str) {
        self.roles.entry(login.into()).or_default().insert(Role::new(role));
    }

    /// Appends a comment.
    pub fn add_comment(&mut self, author: impl Into<String>, text: impl Into<String>) {
        self.comments.push(Comment::new(author, text));
    }

    /// Returns whether an account has one of the roles.
    ///
    /// An account without a login, for example a deleted one, has no role.
    pub fn has_role(&self, login: &str, roles: &[Role]) -> bool {
        let login = login.trim_start_matches('@').trim();
        if login.is_empty() {
            return false;
        }
        roles.iter().any(|role| {
            (role.as_str() == Role::AUTHOR && same(login, self.author.trim_start_matches('@')))
                || self.holders(role).any(|holder| same(holder, login))
        })
    }

    /// Returns the logins of all accounts with one of the roles.
    pub(super) fn people(&self, roles: &[Role]) -> Vec<String> {
        let mut people: Vec<String> = Vec::new();
        for role in roles {
            let author = (role.as_str() == Role::AUTHOR).then_some(self.author.as_str());
            for login in author.into_iter().chain(self.holders(role)) {
                let login = login.trim_start_matches('@');
                if !login.trim().is_empty() && !people.iter().any(|known| same(known, login)) {
                    people.push(login.to_owned());
                }
            }
        }
        people
    }

    fn holders<'f>(&'f self, role: &Role) -> impl Iterator<Item = &'f str> {
        let entries = self.roles.iter().filter(move |(_, roles)| roles.contains(role));
        entries.map(|(login, _)| login.trim_start_matches('@'))
    }
}
