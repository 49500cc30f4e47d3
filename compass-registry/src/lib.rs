#![doc = include_str!("../README.md")]
//!
//! # Modules
//! The root has the basic types (digests, descriptors, references, manifests), the two traits, and
//! the copy engine. The implementations are [`storage`] (memory, and with feature `disk` a
//! directory), [`layout`] (feature `layout`), [`client`] (feature `client`), and [`server`] (feature
//! `server`), which serves a storage over HTTP. [`pull_through`] (with both features) caches another
//! registry. [`http`] (feature `http`) creates HTTP clients.

// The basic types include items that only some features use.
#![cfg_attr(not(all(feature = "client", feature = "server")), allow(dead_code))]

#[macro_use]
mod setters;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "layout")]
pub mod layout;
#[cfg(all(feature = "client", feature = "server"))]
pub mod pull_through;
#[cfg(feature = "server")]
pub mod server;
pub mod storage;
#[cfg(feature = "testing")]
pub mod testing;

mod blob_reader;
mod buffer_pool;
mod cache;
mod caching_sink;
mod connect_retry;
mod copy;
mod descriptor;
mod digest;
#[cfg(feature = "disk")]
mod direct_io;
mod error;
mod image_builder;
mod image_manifest;
mod image_ref;
mod index_images;
mod min_speed;
mod platform;
mod progress;
mod range_fetch;
mod reference;
mod referrer;
mod registry_prefix;
mod retry;
mod secret;
mod sink;
mod source;
mod verify;

/// The annotation that names an image in the index of an OCI layout (OCI image specification,
/// "Pre-Defined Annotation Keys").
pub use oci_spec::image::ANNOTATION_REF_NAME;

pub use cache::CachingSource;
pub use caching_sink::CachingSink;
pub use copy::{Copier, CopyOptions, CopyReport, OnExistingTag, copy};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, Hasher};
pub use error::{Error, Hint};
pub use image_builder::{BuiltImage, ImageBuilder, IndexBuilder, Layer};
pub use image_manifest::{MAX_MANIFEST_BYTES, Manifest, RawManifest, media_type};
pub use image_ref::{Destination, ImageRef};
pub use platform::Platform;
pub use progress::{NoProgress, Progress};
pub use range_fetch::RangeOptions;
pub use reference::{Reference, Repository, Tag, TagOrDigest};
pub use referrer::Referrer;
pub use registry_prefix::RegistryPrefix;
pub use retry::{RetryPolicy, RetryableError};
pub use secret::Secret;
pub use sink::ImageSink;
pub use source::{ByteStream, ImageSource, ImageSourceExt, MAX_EMPTY_CHUNKS, open_blob};
pub use verify::VerifiedBlob;

/// Items that the other crates of this workspace need. They may change in any release.
#[doc(hidden)]
pub mod internal {
    pub use crate::buffer_pool::{BufferPool, PooledBuffer};
    #[cfg(feature = "http")]
    pub use crate::http::plain_client::PlainClient;
    pub use crate::image_manifest::{MAX_IMAGE_MANIFESTS_BYTES, media_type_of, sniff_media_type};
    pub use crate::index_images::MAX_INDEX_DEPTH;
    pub use crate::range_fetch::{LOCAL_LINK_BPS, Throughput, ThroughputMeter};
    pub use crate::retry::with_retry_counter;
    pub use crate::source::open_blob_range;
    #[cfg(feature = "disk")]
    pub use crate::storage::chunked_read::ChunkReader;
}
