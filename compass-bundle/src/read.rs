//! Reads bundles by offset, without unpacking them.

mod checksum;
mod configs;
mod content_stream;
mod images;
mod member_verifier;
mod open;
mod parser;
mod report;
mod seek_source;
mod source;
mod verify;

pub(crate) use self::checksum::read_checksum;
#[cfg(feature = "store")]
pub(crate) use self::checksum::remote_checksum;
#[cfg(feature = "store")]
pub(crate) use self::checksum::{MAX_CHECKSUM, checksum_in};
pub use self::open::{BlobMember, Bundle};
pub(crate) use self::open::{MAX_FILE, file_descriptor};
pub use self::report::{Damage, VerifyReport};
pub use self::seek_source::SeekSource;
pub(crate) use self::source::read_exact;
pub use self::source::{BundleSource, LocalFile};
pub use self::verify::VerifyOptions;
pub(crate) use self::verify::check_sidecar;
