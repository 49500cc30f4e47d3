//! Reads bundles by offset, without unpacking them.

mod checksum;
mod configs;
mod images;
mod member_verifier;
mod open;
mod parser;
mod source;
mod verify;

#[cfg(feature = "store")]
pub(crate) use self::checksum::{MAX_CHECKSUM, checksum_in};
pub(crate) use self::open::MAX_FILE;
pub use self::open::{Bundle, BundleEntry};
pub use self::source::{BundleSource, LocalFile};
pub(crate) use self::verify::check_sidecar;
pub use self::verify::{Damage, VerifyOptions, VerifyReport};
