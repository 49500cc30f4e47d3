#![doc = include_str!("../README.md")]
//!
//! # Modules
//! Without I/O: [`gzip`] (members of stored blocks), [`naming`], [`document`] (`bundle.json`), and the
//! plan. With I/O: writing, reading by offset, verifying, installing, extracting, comparing, and
//! [`store`] (object storages with feature `store`). `docs/bundle-format.md` specifies the format.

pub mod store;

mod compare;
mod diff_ids;
mod error;
mod extract;
mod foreign;
mod format;
mod install;
mod manifest_lookup;
mod package;
mod part_file;
mod plan;
mod read;
mod recompress;
mod write;

pub use compare::{Comparison, DocumentChange, FileChange, ImageChange, ImageSide, compare};
pub use document::BundleDocument;
pub use error::Error;
pub use extract::{Unpacked, unpack, write_file, write_file_below};
pub use foreign::{ForeignFile, ForeignImage, ForeignPackage, PackageProblem};
pub use format::{document, gzip, naming};
pub use install::{Installed, copy_image, install};
pub use package::detection::mismatch_range;
pub use package::{Image, Package, PackageFile, verify_unreadable};
pub use part_file::create_own_directory;
pub use plan::BundlePlan;
pub use plan::contents::{BundleContents, FileEntry};
pub use plan::image::ArchiveImage;
pub use plan::platforms::Platforms;
pub use read::{Bundle, BundleEntry, BundleSource, Damage, LocalFile, VerifyOptions, VerifyReport};
pub use recompress::{Recompressed, layers_to_recompress, recompress};
pub use write::{WriteOptions, Written, checksum_path, stream, write, write_as, write_into};
