//! Reads bundles by offset, without unpacking them.

mod checksum;
mod configs;
mod images;
mod member_verifier;
mod open;
mod parser;
mod report;
mod source;
mod verify;

#[cfg(feature = "store")]
pub(crate) use self::checksum::{MAX_CHECKSUM, checksum_in};
pub(crate) use self::open::MAX_FILE;
pub use self::open::{Bundle, BundleEntry};
pub use self::report::{Damage, VerifyReport};
pub(crate) use self::source::read_exact;
pub use self::source::{BundleSource, LocalFile};
pub use self::verify::VerifyOptions;
pub(crate) use self::verify::check_sidecar;
