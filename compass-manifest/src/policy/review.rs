use std::collections::BTreeMap;

use super::value::{ValueError, texts, value_error};
use crate::escape::quote;
use crate::review::{Guard, Queue, Role, Step};
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
    /// The queue of release pull requests.
    pub queue: Queue,
}

impl Default for ReviewPolicy {
    fn default() -> Self {
        let (release, infra) = ("@supereagle".to_owned(), "@pendoragon".to_owned());
        let queue = Queue::default();
        let role = |name: &str, account: &String| (name.to_owned(), vec![account.clone()]);
        Self {
            roles: [role("platform-release", &release), role("infra", &infra)].into(),
            cc: vec![release, infra],
            kinds: queue.kinds().to_vec(),
            queue,
        }
    }
}

impl ReviewPolicy {
    pub(super) fn read(&mut self, node: &Node) -> Result<(), ValueError> {
        if let Some(cc) = node.get("cc") {
            self.cc = accounts(cc)?;
        }
        if let Some(kinds) = node.get("kinds") {
            self.kinds = texts(kinds);
        }
        if let Some(roles) = node.get("roles") {
            let read = roles.entries().iter().map(|entry| {
                Ok((entry.key.text().unwrap_or_default().to_owned(), accounts(&entry.value)?))
            });
            self.roles = read.collect::<Result<_, ValueError>>()?;
        }
        let steps = match node.get("queue") {
            Some(queue) => queue.items().iter().map(step).collect::<Result<_, _>>()?,
            None => self.queue.steps().to_vec(),
        };
        self.queue = Queue::new(steps, self.kinds.clone(), self.cc.clone()).map_err(|error| {
            let at = node.get("queue").or_else(|| node.get("kinds")).unwrap_or(node);
            value_error(at, error.to_string(), error.hint())
        })?;
        Ok(())
    }
}

fn step(node: &Node) -> Result<Step, ValueError> {
    let text = |key| node.get(key).and_then(Node::text).map(str::to_owned);
    let list = |key| node.get(key).map(Node::items).unwrap_or_default();
    let guards = list("guards").iter().map(|guard| {
        guard.text().unwrap_or_default().parse::<Guard>().map_err(|error| {
            let known: Vec<_> = Guard::ALL.iter().map(|guard| guard.name()).collect();
            value_error(guard, error.to_string(), format!("write one of {}", known.join(", ")))
        })
    });
    Ok(Step {
        from: text("from"),
        to: text("to").unwrap_or_default(),
        who: list("who").iter().filter_map(Node::text).map(Role::new).collect(),
        guards: guards.collect::<Result<_, _>>()?,
    })
}

fn accounts(node: &Node) -> Result<Vec<String>, ValueError> {
    for account in node.items() {
        let text = account.text().unwrap_or_default();
        if !text.starts_with('@') || text.len() == 1 {
            return Err(value_error(
                account,
                format!("{} is not an account", quote(text)),
                "write it with `@`, in quotes: \"@name\"",
            ));
        }
    }
    Ok(texts(node))
}
