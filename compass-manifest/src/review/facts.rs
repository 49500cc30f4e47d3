//! What is known about a pull request. Nothing here is looked up: callers say it.

use std::collections::{BTreeMap, BTreeSet};

use crate::image::ImageReference;

use super::queue::{Role, same};

/// What is known about a pull request and about the world around it.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The login of its author.
    pub author: String,
    /// The roles of people, by login. The author need not be named.
    pub roles: BTreeMap<String, BTreeSet<Role>>,
    /// The labels that the forge shows, as `queue/need-queue` and `kind/release`.
    pub labels: Vec<String>,
    /// The body as it is now.
    pub body: String,
    /// The comments as they are now, oldest first.
    pub comments: Vec<Comment>,
    /// How many errors `check` found; `None` where it was not run.
    pub check_errors: Option<usize>,
    /// The images of the release manifests that the pull request changes; `None` where they are
    /// not known.
    pub images: Option<Vec<ReleaseImage>>,
    /// Whether the bundle is in the store and verifies.
    pub bundle: Evidence,
}

/// A comment on a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// The login of its author.
    pub author: String,
    /// Its text.
    pub text: String,
}

/// An image that a release manifest needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseImage {
    /// Where developers push it.
    pub source: ImageReference,
    /// Where it is released.
    pub release: ImageReference,
    /// Whether it is in the source registry.
    pub in_source: Evidence,
    /// Whether it is in the release registry with the source's digest.
    pub in_release: Evidence,
}

/// Whether something holds, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// It holds.
    Yes,
    /// It does not, and in which way; completes "NAME: …", as `the tag does not exist`.
    No(String),
    /// Nobody could say, and why; as `the registry was not asked`.
    Unknown(String),
}

impl Facts {
    /// A pull request of which only author and body are known.
    pub fn new(author: impl Into<String>, body: impl Into<String>) -> Self {
        Self {
            author: author.into(),
            roles: BTreeMap::new(),
            labels: Vec::new(),
            body: body.into(),
            comments: Vec::new(),
            check_errors: None,
            images: None,
            bundle: Evidence::Unknown("nobody looked into the store".to_owned()),
        }
    }

    /// Gives somebody a role.
    pub fn grant_role(&mut self, login: impl Into<String>, role: &str) {
        self.roles.entry(login.into()).or_default().insert(Role::new(role));
    }

    /// Adds a comment after the others.
    pub fn add_comment(&mut self, author: impl Into<String>, text: impl Into<String>) {
        self.comments.push(Comment { author: author.into(), text: text.into() });
    }

    /// Whether an account has one of some roles. An account without a name, as a deleted one, has
    /// none.
    pub(super) fn may(&self, login: &str, roles: &[Role]) -> bool {
        let login = login.trim_start_matches('@').trim();
        if login.is_empty() {
            return false;
        }
        roles.iter().any(|role| {
            (role.as_str() == Role::AUTHOR && same(login, self.author.trim_start_matches('@')))
                || self.holders(role).any(|holder| same(holder, login))
        })
    }

    /// Everybody who has one of some roles.
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
