//! What people do with pull requests.

use proptest::sample::Index;

use crate::forge_server::OWN_LOGIN;
use crate::world::{BODY, World};

#[derive(Debug, Clone)]
pub(super) enum Action {
    Comment(&'static str, Text),
    EditComment(Index, Text),
    DeleteComment(Index),
    DeleteOwnComment,
    EditBody(Body),
    /// Pushes one of the heads, with or without force.
    Push(Index, bool),
    AddLabel(&'static str, &'static str),
    /// Removes a label, if the pull request has it. A position among its labels would select another
    /// one before the bot has added its own.
    RemoveLabel(&'static str, &'static str),
    Review(&'static str, Text),
    DismissReview(Index),
    Close,
    Reopen,
    AddImage(Image),
    RemoveImage(Image),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// The list of the images of a version, with the command.
    Pushed(&'static str),
    /// Only the list.
    List(&'static str),
    Plain(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Complete,
    NoNote,
    /// Requests later steps too.
    AllSteps,
}

/// An image of the plugin in one of the registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Image {
    pub(super) side: Side,
    pub(super) version: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Source,
    Release,
}

impl Action {
    /// Whether something that permitted a step may be gone afterwards.
    pub(super) fn takes_away(&self) -> bool {
        matches!(
            self,
            Self::EditComment(..)
                | Self::DeleteComment(_)
                | Self::DeleteOwnComment
                | Self::EditBody(_)
                | Self::DismissReview(_)
                | Self::Close
                | Self::RemoveImage(_)
        )
    }

    /// Acts on a pull request of the forge. Does nothing if there is nothing to act on.
    pub(super) fn act(&self, world: &World, heads: &[String], number: u64) {
        let forge = &world.forge;
        match self {
            Self::Comment(author, text) => {
                let text = text.of(world);
                forge.act(|forge| forge.comment(number, author, &text));
            }
            Self::EditComment(which, text) => {
                let (ids, text) = (comments_of_people(world, number), text.of(world));
                if !ids.is_empty() {
                    forge.act(|forge| forge.edit_comment(*which.get(&ids), &text));
                }
            }
            Self::DeleteComment(which) => {
                let ids = comments_of_people(world, number);
                if !ids.is_empty() {
                    forge.act(|forge| forge.delete_comment(*which.get(&ids)));
                }
            }
            Self::DeleteOwnComment => forge.act(|forge| {
                let own = forge.pull(number).comments.iter().find(|one| one.author == OWN_LOGIN);
                if let Some(id) = own.map(|one| one.id) {
                    forge.delete_comment(id);
                }
            }),
            Self::EditBody(body) => forge.act(|forge| forge.edit_body(number, &body.text())),
            Self::Push(head, is_forced) => {
                forge.act(|forge| forge.push(number, &heads[head.index(heads.len())], *is_forced));
            }
            Self::AddLabel(author, label) => {
                forge.act(|forge| forge.add_label(number, author, label));
            }
            Self::RemoveLabel(author, label) => {
                forge.act(|forge| forge.remove_label(number, author, label));
            }
            Self::Review(author, text) => {
                let text = text.of(world);
                forge.act(|forge| forge.review(number, author, &text, "commented"));
            }
            Self::DismissReview(which) => forge.act(|forge| {
                let reviews = forge.pull(number).reviews.clone();
                if !reviews.is_empty() {
                    forge.dismiss_review(number, which.get(&reviews).id);
                }
            }),
            Self::Close => forge.act(|forge| forge.close(number, false)),
            Self::Reopen => forge.act(|forge| forge.reopen(number)),
            Self::AddImage(Image { side: Side::Source, version }) => {
                world.push_image("gpu", version);
            }
            Self::AddImage(Image { side: Side::Release, version }) => {
                world.sync_image("gpu", version);
            }
            Self::RemoveImage(image) => image.remove(world),
        }
    }
}

/// The comments on a pull request that the bot did not write.
fn comments_of_people(world: &World, number: u64) -> Vec<u64> {
    let comments = world.forge.act(|forge| forge.pull(number).comments.clone());
    comments.iter().filter(|one| one.author != OWN_LOGIN).map(|one| one.id).collect()
}

impl Image {
    /// Removes the image, if the registry has it.
    pub(super) fn remove(self, world: &World) {
        world.remove_image_of(self.side == Side::Source, "gpu", self.version);
    }
}

impl Text {
    fn of(self, world: &World) -> String {
        match self {
            Self::Pushed(version) => world.pushed("gpu", version),
            Self::List(version) => {
                format!("image(s) pushed to\n{}\n", world.source_image("gpu", version))
            }
            Self::Plain(text) => text.to_owned(),
        }
    }
}

impl Body {
    pub(super) fn text(self) -> String {
        match self {
            Self::Complete => BODY.to_owned(),
            Self::NoNote => "/kind release\n/queue need-queue\n/cc @paula @ines\n".to_owned(),
            Self::AllSteps => {
                format!("{BODY}/queue patches-need-sync-image\n/queue patches-need-package\n")
            }
        }
    }
}
