//! What people and programs do on the forge.

use super::world::{Comment, Event, Pull, Push, Review, World};
use super::{REPOSITORY, git};

impl World {
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

    pub(crate) fn reopen(&mut self, number: u64) {
        self.touch(number);
        self.pull_mut(number).state = "open";
        let author = self.pull(number).author.clone();
        self.notify_pull(number, "reopened", &author);
    }

    pub(crate) fn comment(&mut self, number: u64, author: &str, body: &str) -> u64 {
        let (now, id) = (self.touch(number), self.comment_id(author));
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
        let (now, id) = (self.touch(number), self.comment_id(author));
        self.user(author);
        let (author, body) = (author.to_owned(), body.to_owned());
        let commit = self.pull(number).head.clone();
        let review = Review { id, author, body, state, submitted: now, commit };
        self.pull_mut(number).reviews.push(review);
        self.notify_review(number, id, "submitted");
        id
    }

    pub(crate) fn dismiss_review(&mut self, number: u64, id: u64) {
        self.touch(number);
        let reviews = &mut self.pull_mut(number).reviews;
        reviews.iter_mut().find(|review| review.id == id).unwrap().state = "dismissed";
        self.notify_review(number, id, "dismissed");
    }

    pub(crate) fn add_label(&mut self, number: u64, actor: &str, label: &str) {
        let is_new = |own: &String| !own.eq_ignore_ascii_case(label);
        if !self.pull(number).labels.iter().all(is_new) {
            return;
        }
        let (at, id) = (self.touch(number), self.id());
        self.user(actor);
        let (actor, label) = (actor.to_owned(), self.label_name(label));
        self.pull_mut(number).labels.push(label.clone());
        let event = Event { id, kind: "labeled", actor: actor.clone(), label: label.clone(), at };
        self.pull_mut(number).events.push(event);
        self.notify_label(number, "labeled", &label, &actor);
    }

    /// Changes the base branch. `kind` is the event, which differs if the old branch was deleted.
    pub(crate) fn retarget(&mut self, number: u64, base: &str, kind: &'static str) {
        let (at, id, actor) = (self.touch(number), self.id(), "alice".to_owned());
        base.clone_into(&mut self.pull_mut(number).base);
        let event = Event { id, kind, actor, label: String::new(), at };
        self.pull_mut(number).events.push(event);
    }

    /// The spelling of a label in the repository, which creates it if there is none.
    fn label_name(&mut self, label: &str) -> String {
        let known = self.label_names.iter().find(|known| known.eq_ignore_ascii_case(label));
        known.cloned().unwrap_or_else(|| {
            self.label_names.push(label.to_owned());
            label.to_owned()
        })
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
        let labels = self.pulls.values_mut().flat_map(|pull| &mut pull.labels);
        for label in labels.chain(&mut self.label_names) {
            if label.eq_ignore_ascii_case(from) {
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
}
