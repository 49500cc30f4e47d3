use std::collections::BTreeMap;

use super::pattern::Pattern;
use super::value::{ValueError, text, texts, value_error};
use crate::escape::quote;
use crate::review::{Facts, Guard, Queue, Role, Step};
use crate::schema::Schema::{Fields, List, MapOf, Text};
use crate::schema::{Table, optional, required};
use crate::source::Span;
use crate::yaml::Node;

/// The settings for the review of releases.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReviewPolicy {
    /// The accounts that the body must `/cc`, with `@`.
    pub cc: Vec<String>,
    /// The kinds of release pull requests, without `kind/`.
    pub kinds: Vec<String>,
    /// The accounts by role, such as `platform-release`.
    pub roles: BTreeMap<String, Vec<String>>,
    /// The owners of plugins, addons and products, by their names.
    pub owners: Vec<OwnerEntry>,
    /// The queue of release pull requests.
    pub queue: Queue,
}

/// The owners of the plugins, addons and products whose names a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnerEntry {
    /// The pattern of the names.
    pub name: Pattern,
    /// The accounts, with `@`.
    pub accounts: Vec<String>,
}

impl Default for ReviewPolicy {
    fn default() -> Self {
        let queue = Queue::default();
        let (roles, owners) = Default::default();
        Self { cc: Vec::new(), kinds: queue.kinds().to_vec(), roles, owners, queue }
    }
}

impl ReviewPolicy {
    /// Returns the accounts of all entries that match the name of a plugin, addon or product,
    /// without `@`.
    pub fn owners_of(&self, name: &str) -> Vec<String> {
        let matching = self.owners.iter().filter(|entry| entry.name.matches(name));
        let mut accounts: Vec<String> = Vec::new();
        for account in matching.flat_map(|entry| &entry.accounts) {
            let account = account.trim_start_matches('@');
            if !accounts.iter().any(|known| known.eq_ignore_ascii_case(account)) {
                accounts.push(account.to_owned());
            }
        }
        accounts
    }

    /// Adds the roles of accounts to the facts about a pull request.
    pub fn grant_roles(&self, facts: &mut Facts) {
        for (role, accounts) in &self.roles {
            for account in accounts {
                facts.grant_role(account.trim_start_matches('@'), role);
            }
        }
    }

    pub(super) fn read(&mut self, node: &Node) -> Result<(), ValueError> {
        let steps = self.queue.steps().to_vec();
        let mut fields = ReviewFields { policy: self.clone(), steps, queue: node.span };
        FIELDS.read(node, &mut fields)?;
        let ReviewFields { policy, steps, queue } = fields;
        *self = policy;
        self.queue = Queue::new(steps, self.kinds.clone(), self.cc.clone())
            .map_err(|error| value_error(queue, error.to_string(), error.hint()))?;
        Ok(())
    }
}

/// The fields of a [`ReviewPolicy`], before its queue is validated.
pub(super) struct ReviewFields {
    policy: ReviewPolicy,
    steps: Vec<Step>,
    /// The most precise span for an error in the queue.
    queue: Span,
}

pub(super) const FIELDS: Table<ReviewFields, ValueError> = Table(&[
    optional("cc", List(&Text)).try_set(|it, node| accounts(node).map(|cc| it.policy.cc = cc)),
    optional("kinds", List(&Text)).set(|it, node| {
        it.policy.kinds = texts(node);
        it.queue = node.span;
    }),
    optional("roles", MapOf(&List(&Text))).try_set(|it, node| {
        let read = node.entries().iter().map(|e| Ok((text(&e.key), accounts(&e.value)?)));
        it.policy.roles = read.collect::<Result<_, ValueError>>()?;
        Ok(())
    }),
    optional("owners", MapOf(&List(&Text))).try_set(|it, node| {
        let read = node.entries().iter().map(|entry| {
            let (name, accounts) = (Pattern::read(&entry.key)?, accounts(&entry.value)?);
            Ok(OwnerEntry { name, accounts })
        });
        it.policy.owners = read.collect::<Result<_, ValueError>>()?;
        Ok(())
    }),
    optional("queue", List(&Fields(&STEP))).try_set(|it, node| {
        it.steps = STEP.items(node)?;
        it.queue = node.span;
        Ok(())
    }),
]);

const STEP: Table<Step, ValueError> = Table(&[
    optional("from", Text).set(|it, node| it.from = Some(text(node))),
    required("to", Text).set(|it, node| it.to = text(node)),
    required("who", List(&Text)).set(|it, node| {
        it.who = node.items().iter().filter_map(Node::text).map(Role::new).collect()
    }),
    optional("guards", List(&Text)).try_set(|it, node| {
        it.guards = node.items().iter().map(guard).collect::<Result<_, _>>()?;
        Ok(())
    }),
]);

fn guard(node: &Node) -> Result<Guard, ValueError> {
    text(node).parse::<Guard>().map_err(|error| {
        let known: Vec<_> = Guard::ALL.iter().map(|guard| guard.name()).collect();
        value_error(node.span, error.to_string(), format!("write one of {}", known.join(", ")))
    })
}

fn accounts(node: &Node) -> Result<Vec<String>, ValueError> {
    for account in node.items() {
        let text = account.text().unwrap_or_default();
        if !text.starts_with('@') || text.len() == 1 {
            return Err(value_error(
                account.span,
                format!("{} is not an account", quote(text)),
                "write it with `@`, in quotes: \"@name\"",
            ));
        }
    }
    Ok(texts(node))
}
