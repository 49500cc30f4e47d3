//! Reads review commands of pull requests, and evaluates the release queue.
//!
//! [`forge`] reads the JSON of a forge, and [`parse_commands`] the text of a body or a comment.
//! [`Queue::evaluate`] returns the state of a pull request, the reasons, and the next step. These
//! functions do no I/O: the caller looks up facts, for example whether an image is in a registry,
//! and puts them into [`Facts`].
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
//! /cc @carol
//! ");
//! facts.check_errors = Some(0);
//! let mut image = ReleaseImage::new(
//!     "cargo.example/source/compass-plugins-gpu:v0.1.1".parse()?,
//!     "harbor.example/release/compass-plugins-gpu:v0.1.1".parse()?,
//! );
//! image.in_source = Evidence::Yes;
//! image.in_release = Evidence::No("the tag does not exist".into());
//! facts.images = Some(vec![image]);
//! facts.add_comment("alice", "\
//! image(s) pushed to
//! cargo.example/source/compass-plugins-gpu:v0.1.1
//! /queue patches-need-sync-image
//! ");
//! facts.add_comment("bob", "/queue patches-need-package");
//! facts.grant_role("carol", "platform-release");
//!
//! let status = Queue::default().evaluate(&facts);
//! assert_eq!(status.state.as_deref(), Some("patches-need-sync-image"));
//! assert_eq!(status.add_labels, ["kind/release", "queue/patches-need-sync-image"]);
//! assert_eq!(status.transitions[1].outcome, Outcome::Granted);
//! // Bob does not have the role for this step.
//! assert!(matches!(status.transitions[2].outcome, Outcome::Refused { .. }));
//! assert_eq!(status.next[0].people, ["carol"]);
//! assert!(status.to_string().contains("compass-plugins-gpu:v0.1.1: the tag does not exist"));
//! # Ok::<(), compass_manifest::image::ImageReferenceError>(())
//! ```

pub mod forge;

mod command;
mod conversation;
mod evaluate;
mod explain;
mod facts;
mod guard;
mod guards;
mod item_lists;
mod list_guards;
mod markdown;
mod owners;
mod parser;
mod queue;
mod release_note;
mod requests;
mod slash_commands;
mod statement;
mod status;

pub use command::{Command, CommandKind, ListItem};
pub use conversation::Origin;
pub use facts::{Comment, Evidence, Facts, Grant, ReleaseImage, Validity};
pub use guard::{Guard, GuardNameError, GuardReport, Verdict};
pub use owners::{Owners, OwnersError, TargetOwners};
pub use parser::parse_commands;
pub use queue::{Queue, QueueError, Role, Step};
pub use statement::{RegistryRole, Statement};
pub use status::{NextStep, Outcome, Status, Transition};
