//! The bundle format: gzip members of stored blocks, and what a bundle consists of.
//!
//! These modules do no I/O; planning, writing and reading use them.

pub mod document;
pub(crate) mod gzip;
pub(crate) mod member;
pub(crate) mod naming;
pub(crate) mod tar_entry;
