//! Image registries: places that images are read from and written to, and what moves between them.
//!
//! Everything that moves an image is one operation, [`copy`], from any [`ImageSource`] to any
//! [`ImageSink`]. What it hands over is a [`VerifiedBlob`]: a stream that ends well only after size
//! and digest were right, so that no sink can keep wrong bytes.
//!
//! ```
//! use std::sync::Arc;
//!
//! use compass_registry::storage::{MemoryStorage, Storage};
//! use compass_registry::{CopyOptions, Digest, RawManifest, Repository, Tag, copy, media_type};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), compass_registry::Error> {
//! // An image without layers, in memory.
//! let source = Arc::new(MemoryStorage::default());
//! let (name, tag): (Repository, Tag) = ("caicloud/web".parse()?, "v1.0.0".parse()?);
//! source.add_blob(&name, *b"{}");
//! let manifest = RawManifest::new(
//!     media_type::OCI_MANIFEST,
//!     format!(
//!         r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{}","size":2}},"layers":[]}}"#,
//!         media_type::OCI_CONFIG,
//!         Digest::of(b"{}"),
//!     ),
//! );
//! source.put_manifest(&name, &manifest, Some(&tag)).await?;
//!
//! // Any other medium takes its place: an HTTP client, an OCI layout, a bundle.
//! let sink = MemoryStorage::default();
//! let release: Repository = "release/web".parse()?;
//! let copied =
//!     copy(source, (&name, &tag.clone().into()), &sink, (&release, Some(&tag)), &CopyOptions::default())
//!         .await?;
//! assert_eq!(copied.digest, manifest.digest());
//! assert_eq!(sink.tags(&release).await?, Some(vec![tag]));
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//! The root has the words (digests, descriptors, references, manifests), the two traits, and the
//! copy engine. The media are siblings: [`storage`] (memory, and with feature `disk` a directory),
//! [`layout`] (feature `layout`), [`client`] (feature `client`), and [`server`] (feature `server`),
//! which serves a storage over HTTP.
//! [`direct_io`] (feature `disk`) writes large files.

// The words and the traits are whole without the media that use all of them.
#![cfg_attr(not(all(feature = "client", feature = "server")), allow(dead_code))]

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "disk")]
pub mod direct_io;
#[cfg(feature = "layout")]
pub mod layout;
pub mod range_fetch;
#[cfg(feature = "server")]
pub mod server;
pub mod storage;
#[cfg(feature = "testing")]
pub mod testing;

mod blob_reader;
mod buffer_pool;
mod cache;
mod connect_retry;
mod copy;
mod descriptor;
mod digest;
mod error;
mod image_manifest;
mod index_images;
mod min_speed;
mod platform;
mod progress;
mod reference;
mod referrer;
mod retry;
mod sink;
mod source;
mod verify;

/// The annotation of an image layout's index that names an image (OCI image specification,
/// "Pre-Defined Annotation Keys").
pub use oci_spec::image::ANNOTATION_REF_NAME;

pub use cache::CachingSource;
pub use copy::{Copier, CopyOptions, CopyReport, OnExistingTag, copy};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, Hasher};
pub use error::Error;
pub use image_manifest::{
    MAX_IMAGE_MANIFESTS_BYTES, MAX_MANIFEST_BYTES, Manifest, RawManifest, media_type,
    media_type_of, sniff_media_type,
};
pub use index_images::MAX_INDEX_DEPTH;
pub use platform::Platform;
pub use progress::{NoProgress, Progress};
pub use range_fetch::RangeOptions;
pub use reference::{Reference, RegistryPrefix, Repository, Tag, TagOrDigest};
pub use referrer::Referrer;
pub use retry::{RetryPolicy, with_retry_counter};
pub use sink::ImageSink;
pub use source::{ByteStream, ImageSource, ImageSourceExt, open_blob, open_blob_range};
pub use verify::VerifiedBlob;
