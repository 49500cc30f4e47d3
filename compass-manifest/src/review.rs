//! Review of release pull requests: what people say to the queue, and where that leads.
//!
//! [`forge`] reads the JSON of a forge, and [`command::parse`] what a body or a comment says.
//! [`Queue::evaluate`] says where a pull
//! request stands, why, and what is next. Both are functions of their arguments: whether an image
//! is in a registry is a fact that the caller looks up and puts into [`Facts`].
//!
//! ```
//! use compass_manifest::review::{Evidence, Facts, Outcome, Queue, ReleaseImage};
//!
//! let mut facts = Facts::new("alice", "\
//! **Release note**:
//! The GPU scheduler no longer forgets nodes.
//!
//! /kind release
//! /queue need-queue
//! /cc @supereagle @pendoragon
//! ");
//! facts.check_errors = Some(0);
//! facts.images = Some(vec![ReleaseImage {
//!     source: "cargo.caicloudprivatetest.com/caicloud/compass-plugins-gpu:v0.1.1".parse()?,
//!     release: "harbor.caicloud.xyz/release/compass-plugins-gpu:v0.1.1".parse()?,
//!     in_source: Evidence::Yes,
//!     in_release: Evidence::No("the tag does not exist".to_owned()),
//! }]);
//! facts.add_comment("alice", "\
//! image(s) pushed to
//! cargo.caicloudprivatetest.com/caicloud/compass-plugins-gpu:v0.1.1
//! /queue patches-need-sync-image
//! ");
//! facts.add_comment("bob", "/queue patches-need-package");
//! facts.grant_role("supereagle", "platform-release");
//!
//! let standing = Queue::default().evaluate(&facts);
//! assert_eq!(standing.state.as_deref(), Some("patches-need-sync-image"));
//! assert_eq!(standing.add_labels, ["kind/release", "queue/patches-need-sync-image"]);
//! assert_eq!(standing.transitions[1].outcome, Outcome::Granted);
//! // Bob has not the role for it, and the image is not where it should be.
//! assert!(matches!(standing.transitions[2].outcome, Outcome::Refused { .. }));
//! assert_eq!(standing.next[0].people, ["supereagle"]);
//! assert!(standing.to_string().contains("compass-plugins-gpu:v0.1.1: the tag does not exist"));
//! # Ok::<(), compass_manifest::image::ImageReferenceError>(())
//! ```

pub mod command;
pub mod forge;

mod conversation;
mod evaluate;
mod explain;
mod facts;
mod guard;
mod guards;
mod item_lists;
mod markdown;
mod queue;
mod release_note;
mod slash_commands;
mod status;

pub use conversation::Origin;
pub use facts::{Comment, Evidence, Facts, ReleaseImage};
pub use guard::{Guard, GuardNameError, GuardReport, Verdict};
pub use queue::{Queue, QueueError, Role, Step};
pub use status::{NextStep, Outcome, Status, Transition};
