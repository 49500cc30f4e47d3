//! Evaluates the guards about lists in comments: of images and of packages.

use std::collections::BTreeSet;

use crate::image::ImageReference;

use super::command::ListItem;
use super::facts::ReleaseImage;
use super::guard::Verdict;
use super::guards::{Evaluation, GuardContext, fails, holds, unknown_images};
use super::statement::Statement;

/// The results of the lists of a conversation.
pub(super) struct ListResults {
    /// The results of the lists, oldest first, with the indices of their texts.
    lists: Vec<(usize, Evaluation)>,
    /// The result without a list.
    none: Evaluation,
}

impl ListResults {
    /// Returns the result for a request in the text with this index, or for one that is given next.
    ///
    /// The guard holds if it holds with the list that was the latest at the time of the request, or
    /// with a later one. So a step is granted at any time from when it could be granted first, and a
    /// later list does not take it back.
    pub(super) fn at(&self, text: Option<usize>) -> &Evaluation {
        let Some((latest, earlier)) = self.lists.split_last() else { return &self.none };
        let known = text.map_or(earlier.len(), |text| {
            let given = self.lists.partition_point(|(index, _)| *index <= text);
            given.saturating_sub(1)
        });
        let results = self.lists[known..].iter().map(|(_, result)| result);
        results.rev().find(|result| result.verdict == Verdict::Holds).unwrap_or(&latest.1)
    }
}

impl GuardContext<'_> {
    /// Compares the complete lists of images with the release manifests. A list is complete if all its
    /// items are valid.
    pub(super) fn images_listed(&self) -> ListResults {
        let Some(needed) = &self.facts.images else {
            return ListResults { lists: Vec::new(), none: unknown_images() };
        };
        let help = || {
            let sources: Vec<_> = needed.iter().map(|image| image.source.to_string()).collect();
            format!(
                "comment `image(s) pushed to` with these lines below it:\n{}",
                sources.join("\n")
            )
        };
        let mut none = match needed.is_empty() {
            true => holds(Statement::NoImagesNeeded),
            false => fails(Statement::NoImagesListed, help()),
        };
        let mut lists = Vec::new();
        for (index, items) in self.conversation.image_lists(self.facts, &self.step.who) {
            match items.iter().find(|item| item.is_malformed()) {
                Some(item) if !needed.is_empty() => none = fails(describe_malformed(item), help()),
                Some(_) => {}
                None => {
                    let images = items.iter().filter_map(|item| item.value.as_ref().ok());
                    lists.push((index, compare(needed, images, &help)));
                }
            }
        }
        ListResults { lists, none }
    }

    pub(super) fn packages_listed(&self) -> ListResults {
        let none = fails(
            Statement::NoPackagesListed,
            "comment `packages uploaded to` with the URL of each package below it",
        );
        let lists = self.conversation.packages(self.facts, &self.step.who).into_iter();
        let results = lists.map(|(index, items)| {
            let result = match items.iter().find(|item| item.is_malformed()) {
                Some(item) => fails(describe_malformed(item), "correct the line"),
                None => holds(Statement::PackagesListed(items.len())),
            };
            (index, result)
        });
        ListResults { lists: results.collect(), none }
    }
}

fn describe_malformed<T>(item: &ListItem<T>) -> Statement {
    let reason = item.value.as_ref().err().cloned().unwrap_or_default();
    Statement::InvalidLine { line: item.line, text: item.text.clone(), reason }
}

/// Compares the listed images with those of the manifests, by repository and tag.
fn compare<'i>(
    needed: &[ReleaseImage],
    listed: impl Iterator<Item = &'i ImageReference>,
    help: &dyn Fn() -> String,
) -> Evaluation {
    let name = |image: &ImageReference| (image.without_version(), image.tag().map(str::to_owned));
    let wanted: BTreeSet<_> = needed.iter().map(|image| name(&image.source)).collect();
    let given: BTreeSet<_> = listed.map(name).collect();
    let shown = |(repository, tag): &(String, Option<String>)| match tag {
        Some(tag) => format!("{repository}:{tag}"),
        None => format!("{repository} (without a tag)"),
    };
    let missing: Vec<String> = wanted.difference(&given).map(shown).collect();
    let extra: Vec<String> = given.difference(&wanted).map(shown).collect();
    if missing.is_empty() && extra.is_empty() {
        return holds(Statement::ImagesListed(wanted.len()));
    }
    fails(Statement::ListDiffers { missing, extra }, help())
}
