//! The bundle format: gzip members of stored blocks, and what a bundle consists of.
//!
//! Pure. Planning, writing and reading all build on it.

pub mod document;
pub mod gzip;
pub(crate) mod member;
pub mod naming;
pub(crate) mod tar_entry;
