//! The state of the forge, and what people do there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use super::faults::Faults;
use super::webhooks::{Delivery, Hook};
use super::{OWN_LOGIN, TOKEN, git};

/// An account.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) login: String,
    pub(crate) id: u64,
    pub(crate) is_bot: bool,
    pub(crate) permission: &'static str,
}

/// A pull request.
#[derive(Debug, Clone)]
pub(crate) struct Pull {
    pub(crate) number: u64,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) author: String,
    pub(crate) state: &'static str,
    pub(crate) is_draft: bool,
    pub(crate) is_merged: bool,
    pub(crate) labels: Vec<String>,
    pub(crate) head: String,
    pub(crate) branch: String,
    /// The repository of the head; `None` if it was deleted.
    pub(crate) head_repository: Option<String>,
    pub(crate) base: String,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    pub(crate) comments: Vec<Comment>,
    pub(crate) reviews: Vec<Review>,
    pub(crate) events: Vec<Event>,
    pub(crate) pushes: Vec<Push>,
}

#[derive(Debug, Clone)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) author: String,
    pub(crate) body: String,
    pub(crate) created: i64,
    pub(crate) updated: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Review {
    pub(crate) id: u64,
    pub(crate) author: String,
    pub(crate) body: String,
    pub(crate) state: &'static str,
    pub(crate) submitted: i64,
    pub(crate) commit: String,
}

/// The addition or removal of a label.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) kind: &'static str,
    pub(crate) actor: String,
    pub(crate) label: String,
    pub(crate) at: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Push {
    pub(crate) before: String,
    pub(crate) after: String,
    pub(crate) is_forced: bool,
    pub(crate) at: i64,
}

/// A status of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) context: String,
    pub(crate) state: String,
    pub(crate) description: String,
    pub(crate) target_url: Option<String>,
}

/// The end of a path, the number of a page, and an action.
pub(crate) type Interruption = (&'static str, usize, Box<dyn FnOnce(&mut World) + Send>);

/// The state of the forge.
pub(crate) struct World {
    pub(crate) url: String,
    /// The time in seconds since 1970.
    pub(crate) clock: i64,
    pub(crate) users: BTreeMap<String, User>,
    /// Logins by token. The token of an installation belongs to no login.
    pub(crate) tokens: BTreeMap<String, Option<String>>,
    pub(crate) pulls: BTreeMap<u64, Pull>,
    /// The labels of the repository. A label has one spelling, that of its creation.
    pub(crate) label_names: Vec<String>,
    /// Numbers of issues that are not pull requests.
    pub(crate) issues: Vec<u64>,
    /// The statuses of each commit, oldest first.
    pub(crate) statuses: BTreeMap<String, Vec<Status>>,
    /// A bare git repository with the commits.
    pub(crate) git: Option<PathBuf>,
    /// The head of the base branch.
    pub(crate) base_commit: String,
    /// Former names of the repository.
    pub(crate) former_names: Vec<String>,
    /// Whether the list of pushes is available.
    pub(crate) shows_activity: bool,
    /// Whether lists of files are cut off.
    pub(crate) truncates_trees: bool,
    pub(crate) page_size: usize,
    pub(crate) faults: Faults,
    /// What happens just before pages of lists are read.
    pub(crate) interruptions: Vec<Interruption>,
    pub(crate) hook: Option<Hook>,
    /// Everything that happened, as webhooks report it.
    pub(crate) deliveries: Vec<Delivery>,
    /// The identifiers of deliveries that the receiver did not accept.
    pub(crate) undelivered: BTreeSet<String>,
    /// Whether the account of the token may read webhooks.
    pub(crate) shows_hooks: bool,
    /// The requests, such as `GET /repos/a/b`.
    pub(crate) requests: Vec<String>,
    /// The number of answers that said that nothing changed.
    pub(crate) unchanged: usize,
    /// The requests that changed something, and their times.
    pub(crate) written: Vec<(Instant, String)>,
    next_id: u64,
    last_comment: u64,
    last_own_comment: u64,
}

impl World {
    pub(super) fn new(url: &str) -> Self {
        let mut world = Self {
            url: url.to_owned(),
            clock: 1_790_000_000,
            users: BTreeMap::new(),
            tokens: BTreeMap::from([(TOKEN.to_owned(), Some(OWN_LOGIN.to_owned()))]),
            pulls: BTreeMap::new(),
            label_names: Vec::new(),
            issues: Vec::new(),
            statuses: BTreeMap::new(),
            git: None,
            base_commit: commit_name(0),
            former_names: Vec::new(),
            shows_activity: true,
            truncates_trees: false,
            page_size: 100,
            faults: Faults::default(),
            interruptions: Vec::new(),
            hook: None,
            deliveries: Vec::new(),
            undelivered: BTreeSet::new(),
            shows_hooks: true,
            requests: Vec::new(),
            unchanged: 0,
            written: Vec::new(),
            next_id: 1000,
            last_comment: 10_000,
            last_own_comment: 1_000_000,
        };
        world.add_user(OWN_LOGIN, false, "write");
        world.add_user("github-actions[bot]", true, "write");
        world
    }

    pub(crate) fn add_user(&mut self, login: &str, is_bot: bool, permission: &'static str) {
        let id = self.id();
        let user = User { login: login.to_owned(), id, is_bot, permission };
        self.users.insert(login.to_owned(), user);
    }

    pub(super) fn user(&mut self, login: &str) -> User {
        if !self.users.contains_key(login) {
            self.add_user(login, login.ends_with("[bot]"), "read");
        }
        self.users[login].clone()
    }

    pub(crate) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The number of a comment. What a program writes does not change the numbers of later comments of
    /// people.
    pub(super) fn comment_id(&mut self, author: &str) -> u64 {
        let is_program = author == OWN_LOGIN || author.ends_with("[bot]");
        let last = if is_program { &mut self.last_own_comment } else { &mut self.last_comment };
        *last += 1;
        *last
    }

    /// Ten seconds pass.
    pub(super) fn tick(&mut self) -> i64 {
        self.clock += 10;
        self.clock
    }

    pub(crate) fn pull(&self, number: u64) -> &Pull {
        &self.pulls[&number]
    }

    pub(super) fn pull_mut(&mut self, number: u64) -> &mut Pull {
        self.pulls.get_mut(&number).unwrap()
    }

    pub(super) fn touch(&mut self, number: u64) -> i64 {
        let now = self.tick();
        self.pull_mut(number).updated = now;
        now
    }

    pub(super) fn number_of_comment(&self, id: u64) -> Option<u64> {
        let has = |pull: &&Pull| pull.comments.iter().any(|comment| comment.id == id);
        self.pulls.values().find(has).map(|pull| pull.number)
    }

    pub(super) fn comment_mut(&mut self, id: u64) -> Option<&mut Comment> {
        self.pulls.values_mut().flat_map(|pull| &mut pull.comments).find(|one| one.id == id)
    }

    /// Plans an action just before a page of a list is read the next time.
    pub(crate) fn before_page(
        &mut self,
        list: &'static str,
        page: usize,
        action: impl FnOnce(&mut Self) + Send + 'static,
    ) {
        self.interruptions.push((list, page, Box::new(action)));
    }

    /// Runs the action that is planned for this page.
    pub(super) fn interrupt(&mut self, path: &str, page: usize) {
        let is_planned = |(list, at, _): &Interruption| path.ends_with(list) && *at == page;
        if let Some(at) = self.interruptions.iter().position(is_planned) {
            let (.., action) = self.interruptions.remove(at);
            action(self);
        }
    }

    /// The commit of a base branch.
    pub(super) fn commit_of_base(&self, branch: &str) -> String {
        let found = self.git.as_ref().filter(|_| branch != "main").map(|directory| {
            let reference = format!("refs/heads/{branch}");
            git::run(directory, &["rev-parse", "--verify", &reference])
        });
        found.unwrap_or_else(|| self.base_commit.clone())
    }

    /// The comments of an account on a pull request.
    pub(crate) fn comments_by(&self, number: u64, login: &str) -> Vec<String> {
        let comments = self.pull(number).comments.iter();
        comments.filter(|one| one.author == login).map(|one| one.body.clone()).collect()
    }

    /// The latest status of the head of a pull request with a context.
    pub(crate) fn status(&self, number: u64, context: &str) -> Option<Status> {
        let statuses = self.statuses.get(&self.pull(number).head)?;
        statuses.iter().rev().find(|status| status.context == context).cloned()
    }

    /// The requests that changed something, without their times.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.written.iter().map(|(_, request)| request.clone()).collect()
    }
}

/// A name for a commit that is in no git repository.
pub(crate) fn commit_name(number: u64) -> String {
    format!("{number:040x}")
}
