//! Offline install packages: planned to the byte, streamed from registries, read back by offset.
//!
//! The image manifests determine the size of a bundle and the offset of every byte in it, before any
//! layer is transferred. [`BundlePlan`] computes this layout: writing executes the plan, and opening
//! a bundle computes it again and compares.
//!
//! ```
//! use std::sync::Arc;
//!
//! use compass_bundle::document::BundleKind;
//! use compass_bundle::{
//!     ArchiveImage, Bundle, BundleContents, BundlePlan, ContentFile, Platforms, VerifyOptions,
//!     WriteOptions, write,
//! };
//! use compass_registry::storage::{MemoryStorage, Storage};
//! use compass_registry::{Digest, TagOrDigest, RawManifest, Reference, media_type};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Any `ImageSource` works: a registry over HTTP, an OCI layout, another bundle.
//! let source = MemoryStorage::default();
//! let reference: Reference = "harbor.example/release/compass-plugins-gpu:v0.1.0".parse()?;
//! # source.add_blob(reference.repository(), *b"{}");
//! # let text = format!(
//! #     r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{}","size":2}},"layers":[]}}"#,
//! #     media_type::OCI_CONFIG, Digest::of(b"{}"));
//! # let manifest = RawManifest::new(media_type::OCI_MANIFEST, text);
//! # source.put_manifest(reference.repository(), &manifest, reference.tag()).await?;
//! let platform: compass_registry::Platform = "linux/amd64".parse()?;
//! let from = (reference.repository(), &reference.tag_or_digest());
//! let platforms = Platforms::One(platform.clone());
//! let image = ArchiveImage::gather(&source, from, reference.clone(), &platforms).await?;
//!
//! let plan = BundlePlan::new(&BundleContents {
//!     kind: BundleKind::Plugin,
//!     name: "gpu".to_owned(),
//!     version: "v0.1.0".to_owned(),
//!     base: None,
//!     commit: None,
//!     modified: 0,
//!     files: vec![ContentFile::new("gpu.yaml", "metadata: {name: gpu}\n")],
//!     images: vec![image],
//!     platform,
//!     platforms: vec![],
//!     archives: false,
//! })?;
//! assert_eq!(plan.file_name(), "compass-plugins-gpu-v0.1.0.tar.gz");
//!
//! let directory = tempfile::tempdir()?;
//! let written =
//!     write(&plan, Arc::new(source), directory.path(), &WriteOptions::default()).await?;
//! assert_eq!(written.size, plan.size());
//!
//! let bundle = Bundle::open(&written.path).await?;
//! assert!(bundle.verify(&VerifyOptions::default()).await?.holds());
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//! Without I/O: [`frame`] (gzip of stored blocks), [`naming`], [`document`] (`bundle.json`), and the
//! plan. With I/O: writing, reading by offset, verifying, installing, extracting, comparing, and
//! [`store`] (object storages with feature `store`). `docs/bundle-format.md` specifies the format.

pub mod document;
pub mod frame;
pub mod naming;
pub mod store;

mod compare;
mod diff_ids;
mod error;
mod extract;
mod foreign;
mod install;
mod package;
mod plan;
mod read;
mod recompress;
mod write;

pub use compare::{Comparison, DocumentChange, FileChange, ImageChange, ImageSide, compare};
pub use document::BundleDocument;
pub use error::Error;
pub use extract::{Unpacked, unpack, write_file, write_file_below};
pub use foreign::{ForeignFile, ForeignImage, ForeignPackage, PackageProblem};
pub use install::{Installed, copy_bundled, copy_packed, install, install_package};
pub use package::{Package, mismatch_range, verify_unreadable};
pub use plan::BundlePlan;
pub use plan::contents::{BundleContents, ContentFile};
pub use plan::image::ArchiveImage;
pub use plan::platforms::Platforms;
pub use read::{Bundle, BundleEntry, BundleSource, Damage, LocalFile, Verified, VerifyOptions};
pub use recompress::{Recompressed, layers_to_recompress, recompress};
pub use write::{
    WriteOptions, Written, checksum_path, create_own_directory, stream, write, write_as, write_into,
};
