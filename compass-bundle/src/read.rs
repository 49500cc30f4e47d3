//! Reads bundles by offset: nothing is unpacked.

pub(crate) mod frames;
mod open;
mod opening;
mod proof;
mod source;
mod verify;

pub(crate) use self::open::MAX_FILE;
pub use self::open::{Bundle, BundleEntry};
#[cfg(feature = "store")]
pub(crate) use self::source::checksum_in;
pub use self::source::{BundleSource, LocalFile};
pub(crate) use self::verify::require_checksum;
pub use self::verify::{Damage, Verified, VerifyOptions};
