//! Reads bundles by offset: nothing is unpacked.

pub(crate) mod frames;
mod open;
mod opening;
mod proof;
mod source;
mod verify;

pub use self::open::{Bundle, BundleEntry};
pub use self::source::{BundleSource, LocalFile};
pub(crate) use self::verify::require_checksum;
pub use self::verify::{Damage, Verified, VerifyOptions, compare_checksum, digest_of};
