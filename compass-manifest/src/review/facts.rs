//! Defines the facts about a pull request, which the caller looks up.

use std::collections::{BTreeMap, BTreeSet};

use crate::image::ImageReference;

use super::queue::{Role, same};

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
}

/// A comment on a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Comment {
    /// The login of its author.
    pub author: String,
    /// Its text.
    pub text: String,
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
    No(String),
    /// The fact is unknown, with the reason, such as `the registry was not contacted`.
    Unknown(String),
}

impl ReleaseImage {
    /// Creates an image whose presence in the registries is unknown.
    pub fn new(source: ImageReference, release: ImageReference) -> Self {
        let unknown = Evidence::Unknown("the registry was not contacted".to_owned());
        Self { source, release, in_source: unknown.clone(), in_release: unknown }
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
            bundle: Evidence::Unknown("the store was not checked".to_owned()),
        }
    }

    /// Adds a role to an account.
    pub fn grant_role(&mut self, login: impl Into<String>, role: &str) {
        self.roles.entry(login.into()).or_default().insert(Role::new(role));
    }

    /// Appends a comment.
    pub fn add_comment(&mut self, author: impl Into<String>, text: impl Into<String>) {
        self.comments.push(Comment { author: author.into(), text: text.into() });
    }

    /// Returns whether an account has one of the roles.
    ///
    /// An account without a login, for example a deleted one, has no role.
    pub(super) fn has_role(&self, login: &str, roles: &[Role]) -> bool {
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
