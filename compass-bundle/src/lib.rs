#![doc = include_str!("../README.md")]
//!
//! # Overview
//! [`BundlePlan`] plans a bundle from [`BundleContents`], without I/O; [`write()`] and [`stream()`]
//! execute the plan. [`Package`] opens a bundle or a package of other tools, lists and streams its
//! images, blobs and files, and verifies, unpacks or installs it. [`compare()`] compares two packages.
//! [`ImageCatalog`] is a read-only storage of bundles and OCI layouts, which a registry can serve.
//! [`document`] has the types of `bundle.json`, and [`store`] publishes bundles (object stores with
//! feature `store`). `docs/bundle-format.md` specifies the format.

pub mod store;

mod catalog;
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

pub use catalog::ImageCatalog;
pub use compare::{
    Comparison, DocumentChange, FileChange, ImageChange, ImageSide, compare, compare_with_plan,
};
pub use document::BundleDocument;
pub use error::Error;
pub use extract::{Unpacked, stream_images, unpack, write_images};
pub use foreign::{ForeignFile, ForeignImage, ForeignPackage, PackageProblem};
pub use format::document;
pub use install::{ImageInstallation, Installed, copy_image, install, install_each, plan_install};
pub use package::{Image, Package, PackageBlob, PackageFile, verify_unreadable};
pub use plan::BundlePlan;
pub use plan::contents::{BundleContents, FileEntry};
pub use plan::image::ArchiveImage;
pub use plan::platforms::Platforms;
pub use read::{
    BlobMember, Bundle, BundleSource, Damage, LocalFile, SeekSource, VerifyOptions, VerifyReport,
};
pub use recompress::{
    Recompressed, RecompressedLayer, layers_to_recompress, recompress, staging_storage,
};
pub use write::{
    OutputStream, WriteOptions, Written, checksum_path, stream, write, write_as, write_into,
};

/// Items that the command line of this workspace needs. They may change in any release.
#[doc(hidden)]
pub mod internal {
    pub use crate::extract::{write_file, write_file_below};
    pub use crate::write::require_space;
}
