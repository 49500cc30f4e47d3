//! Recovers the granted steps of a pull request whose comment with the record was deleted.
//!
//! A label that this program added shows that the steps to it were granted then. Labels that others
//! added show nothing.

use compass_manifest::review::{Facts, Grant, Queue, Role};
use jiff::Timestamp;

use super::conversation::{ForgeText, requests};
use super::head_history::HeadHistory;
use crate::error::Result;
use crate::forge::{Account, LabelEvent};

/// The label history of a pull request since its base was chosen, and the texts that requested the
/// labels.
pub(super) struct OwnLabels<'l> {
    pub(super) events: &'l [LabelEvent],
    /// The account of this program.
    pub(super) own: &'l Account,
    pub(super) texts: &'l [ForgeText],
}

impl OwnLabels<'_> {
    /// Returns the granted steps.
    pub(super) async fn grants(
        &self,
        facts: &Facts,
        queue: &Queue,
        history: &HeadHistory<'_, '_>,
    ) -> Result<Vec<Grant>> {
        let mut grants: Vec<Grant> = Vec::new();
        for (label, at) in self.events.iter().filter_map(|event| self.added(event)) {
            let Some(path) = queue.path(None, label) else { continue };
            let Some(files) = history.files_at(at).await? else { continue };
            // The label shows only the last of the steps that were granted at once.
            let mut from = None;
            for to in path {
                let is_known = |grant: &Grant| {
                    grant.to.eq_ignore_ascii_case(to) && grant.release_files == files
                };
                if !grants.iter().any(is_known) {
                    let step = queue
                        .steps()
                        .iter()
                        .find(|step| step.from.as_deref() == from && step.to == to);
                    let who = step.map(|step| step.who.as_slice()).unwrap_or_default();
                    grants.push(self.grant(facts, to, who, at, &files));
                }
                from = Some(to);
            }
        }
        Ok(grants)
    }

    /// The label of the queue that this program added, and when.
    fn added<'e>(&self, event: &'e LabelEvent) -> Option<(&'e str, Timestamp)> {
        let (group, label) = event.label.split_once('/')?;
        let is_own = event.is_added && event.by.id == self.own.id;
        (is_own && group.eq_ignore_ascii_case("queue")).then_some((label, event.at?))
    }

    /// The grant of a step to the first request that could have moved the pull request.
    fn grant(&self, facts: &Facts, to: &str, who: &[Role], at: Timestamp, files: &str) -> Grant {
        let mut grant = Grant::new(to, &facts.author, files);
        if requests(&facts.body, to) && facts.has_role(&facts.author, who) {
            return grant;
        }
        let request = self.texts.iter().find(|text| {
            text.created.is_some_and(|created| created <= at)
                && facts.has_role(&text.author.login, who)
                && requests(&text.body, to)
        });
        grant.written = at.as_second();
        // The command of a grant without a request was deleted.
        grant.comment = Some(request.map_or(0, ForgeText::key));
        if let Some(request) = request {
            grant.by.clone_from(&request.author.login);
            grant.written = request.created.map_or(0, Timestamp::as_second);
        }
        grant
    }
}
