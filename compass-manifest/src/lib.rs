#![doc = include_str!("../README.md")]
//!
//! # Modules
//! - [`version`], [`image`]: versions and image references, valid by construction.
//! - [`plugin`], [`addon`], [`product`]: the fields of release manifests.
//! - [`template`], [`image_refs`]: template variables, and the images that manifests use.
//! - [`policy`]: the settings of a release repository.
//! - [`policy_draft`]: drafts a policy from the files of a repository.
//! - [`repository`]: the parsed files of a [`ReleaseRepository`], which the following modules borrow.
//! - [`rules`]: the built-in rules; [`rule`]: the interface for own rules. [`Check`] applies both.
//! - [`inventory`]: the plugins, hotfixes, products and images of a repository.
//! - [`bump`]: writes the next version of a plugin, or the next hotfix of an addon.
//! - [`site`]: renders release manifests for the registry and the variables of a site.
//! - [`finding`], [`render`]: findings, and their output formats.
//! - [`json_schema`]: JSON Schemas of manifests and policies.
//! - [`escape`]: escapes untrusted text for terminals and logs.
//! - [`review`]: review commands, and the queue of release pull requests.
//! - [`pull_request_text`]: the texts of a release pull request.
//! - `strategies` (feature `proptest`): values and repositories for property tests.

pub mod addon;
pub mod bump;
pub mod diff;
pub mod escape;
pub mod finding;
pub mod image;
pub mod image_refs;
pub mod inventory;
pub mod json_schema;
pub mod plugin;
pub mod policy;
pub mod policy_draft;
pub mod product;
pub mod pull_request_text;
pub mod render;
pub mod repository;
pub mod review;
pub mod rule;
pub mod rules;
pub mod site;
pub mod source;
#[cfg(feature = "proptest")]
pub mod strategies;
pub mod template;
pub mod version;
pub mod yaml;

mod check;
mod decode;
#[cfg(test)]
mod manifest_docs;
mod named_enum;
mod node_path;
mod parallel;
mod report;
mod schema;
mod suggest;
mod tree;

pub use check::{Check, check, check_change};
pub use decode::{MAX_POINTER_BYTES, has_conflict_markers, is_lfs_pointer};
pub use policy::Policy;
pub use report::Report;
pub use repository::{ReleaseRepository, files_to_read, unread_packed_files};
pub use suggest::suggest;
pub use tree::{EntryKind, Tree};
