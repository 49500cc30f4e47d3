//! The state of the forge, and what people do there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use super::faults::Faults;
use super::webhooks::{Delivery, Hook};
use super::{OWN_LOGIN, REPOSITORY, TOKEN, git};

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

/// The state of the forge.
pub(crate) struct World {
    pub(crate) url: String,
    /// The time in seconds since 1970.
    pub(crate) clock: i64,
    pub(crate) users: BTreeMap<String, User>,
    /// Logins by token. The token of an installation belongs to no login.
    pub(crate) tokens: BTreeMap<String, Option<String>>,
    pub(crate) pulls: BTreeMap<u64, Pull>,
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
    pub(crate) page_size: usize,
    pub(crate) faults: Faults,
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
}

impl World {
    pub(super) fn new(url: &str) -> Self {
        let mut world = Self {
            url: url.to_owned(),
            clock: 1_790_000_000,
            users: BTreeMap::new(),
            tokens: BTreeMap::from([(TOKEN.to_owned(), Some(OWN_LOGIN.to_owned()))]),
            pulls: BTreeMap::new(),
            issues: Vec::new(),
            statuses: BTreeMap::new(),
            git: None,
            base_commit: commit_name(0),
            former_names: Vec::new(),
            shows_activity: true,
            page_size: 100,
            faults: Faults::default(),
            hook: None,
            deliveries: Vec::new(),
            undelivered: BTreeSet::new(),
            shows_hooks: true,
            requests: Vec::new(),
            unchanged: 0,
            written: Vec::new(),
            next_id: 1000,
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

    fn touch(&mut self, number: u64) -> i64 {
        let now = self.tick();
        self.pull_mut(number).updated = now;
        now
    }

    /// Opens a pull request from the branch `change-N` of the repository itself.
    pub(crate) fn open_pull(&mut self, author: &str, body: &str, head: &str) -> u64 {
        let (now, number) = (self.tick(), self.pulls.len() as u64 + 1 + self.issues.len() as u64);
        self.user(author);
        let pull = Pull {
            number,
            title: format!("Release {number}"),
            body: body.to_owned(),
            author: author.to_owned(),
            state: "open",
            is_draft: false,
            is_merged: false,
            labels: Vec::new(),
            head: head.to_owned(),
            branch: format!("change-{number}"),
            head_repository: Some(REPOSITORY.to_owned()),
            base: "main".to_owned(),
            created: now,
            updated: now,
            comments: Vec::new(),
            reviews: Vec::new(),
            events: Vec::new(),
            pushes: vec![Push {
                before: "0".repeat(40),
                after: head.to_owned(),
                is_forced: false,
                at: now - 5,
            }],
        };
        self.pulls.insert(number, pull);
        self.set_head_ref(number);
        self.notify_pull(number, "opened", author);
        number
    }

    pub(crate) fn edit_body(&mut self, number: u64, body: &str) {
        self.touch(number);
        body.clone_into(&mut self.pull_mut(number).body);
        let author = self.pull(number).author.clone();
        self.notify_pull(number, "edited", &author);
    }

    pub(crate) fn close(&mut self, number: u64, is_merged: bool) {
        self.touch(number);
        let pull = self.pull_mut(number);
        (pull.state, pull.is_merged) = ("closed", is_merged);
        let author = pull.author.clone();
        self.notify_pull(number, "closed", &author);
    }

    pub(crate) fn comment(&mut self, number: u64, author: &str, body: &str) -> u64 {
        let (now, id) = (self.touch(number), self.id());
        self.user(author);
        let (author, body) = (author.to_owned(), body.to_owned());
        let comment = Comment { id, author, body, created: now, updated: now };
        self.pull_mut(number).comments.push(comment);
        self.notify_comment(number, id, "created");
        id
    }

    pub(crate) fn edit_comment(&mut self, id: u64, body: &str) {
        let number = self.number_of_comment(id).unwrap();
        let now = self.touch(number);
        let comment = self.comment_mut(id).unwrap();
        body.clone_into(&mut comment.body);
        comment.updated = now;
        self.notify_comment(number, id, "edited");
    }

    pub(crate) fn delete_comment(&mut self, id: u64) {
        let number = self.number_of_comment(id).unwrap();
        self.touch(number);
        self.notify_comment(number, id, "deleted");
        self.pull_mut(number).comments.retain(|comment| comment.id != id);
    }

    pub(crate) fn review(
        &mut self,
        number: u64,
        author: &str,
        body: &str,
        state: &'static str,
    ) -> u64 {
        let (now, id) = (self.touch(number), self.id());
        self.user(author);
        let (author, body) = (author.to_owned(), body.to_owned());
        let commit = self.pull(number).head.clone();
        let review = Review { id, author, body, state, submitted: now, commit };
        self.pull_mut(number).reviews.push(review);
        self.notify_review(number, id, "submitted");
        id
    }

    pub(crate) fn add_label(&mut self, number: u64, actor: &str, label: &str) {
        let is_new = |own: &String| !own.eq_ignore_ascii_case(label);
        if !self.pull(number).labels.iter().all(is_new) {
            return;
        }
        let (at, id) = (self.touch(number), self.id());
        self.user(actor);
        let (actor, label) = (actor.to_owned(), label.to_owned());
        self.pull_mut(number).labels.push(label.clone());
        let event = Event { id, kind: "labeled", actor: actor.clone(), label: label.clone(), at };
        self.pull_mut(number).events.push(event);
        self.notify_label(number, "labeled", &label, &actor);
    }

    /// Removes a label; returns whether the pull request had it.
    pub(crate) fn remove_label(&mut self, number: u64, actor: &str, label: &str) -> bool {
        let is_label = |own: &String| own.eq_ignore_ascii_case(label);
        if !self.pull(number).labels.iter().any(is_label) {
            return false;
        }
        let (at, id) = (self.touch(number), self.id());
        self.user(actor);
        self.pull_mut(number).labels.retain(|own| !is_label(own));
        let (actor, label) = (actor.to_owned(), label.to_owned());
        let event = Event { id, kind: "unlabeled", actor: actor.clone(), label: label.clone(), at };
        self.pull_mut(number).events.push(event);
        self.notify_label(number, "unlabeled", &label, &actor);
        true
    }

    /// Renames a label of the repository. Events keep the former name.
    pub(crate) fn rename_label(&mut self, from: &str, to: &str) {
        self.tick();
        for pull in self.pulls.values_mut() {
            for label in pull.labels.iter_mut().filter(|label| label.eq_ignore_ascii_case(from)) {
                to.clone_into(label);
            }
        }
    }

    /// Pushes a commit to the head of a pull request.
    pub(crate) fn push(&mut self, number: u64, commit: &str, is_forced: bool) {
        let at = self.touch(number);
        let before = std::mem::replace(&mut self.pull_mut(number).head, commit.to_owned());
        let push = Push { before: before.clone(), after: commit.to_owned(), is_forced, at };
        self.pull_mut(number).pushes.push(push);
        self.set_head_ref(number);
        self.notify_push(number, &before);
    }

    fn set_head_ref(&self, number: u64) {
        if let Some(directory) = &self.git {
            let head = &self.pull(number).head;
            git::run(directory, &["update-ref", &format!("refs/pull/{number}/head"), head]);
        }
    }

    pub(super) fn number_of_comment(&self, id: u64) -> Option<u64> {
        let has = |pull: &&Pull| pull.comments.iter().any(|comment| comment.id == id);
        self.pulls.values().find(has).map(|pull| pull.number)
    }

    pub(super) fn comment_mut(&mut self, id: u64) -> Option<&mut Comment> {
        self.pulls.values_mut().flat_map(|pull| &mut pull.comments).find(|one| one.id == id)
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
