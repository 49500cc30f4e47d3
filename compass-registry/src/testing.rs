//! Support for tests of dependent crates (feature `testing`). Provides sample images, a registry
//! that injects scripted faults, and a conformance test of [`ImageSource`](crate::ImageSource) and
//! [`ImageSink`](crate::ImageSink).
//!
//! ```
//! use std::sync::Arc;
//!
//! use compass_registry::client::{Client, ClientOptions};
//! use compass_registry::storage::MemoryStorage;
//! use compass_registry::testing::{Fault, FaultyRegistry, SampleImage, Script, read_image};
//! use compass_registry::{ImageRef, Repository, Tag};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), compass_registry::Error> {
//! // An image in a registry that resets the second connection after 100 bytes.
//! let (storage, image) = (MemoryStorage::default(), SampleImage::new(1, &[3000, 500]));
//! let (name, tag): (Repository, Tag) = ("team/web".parse()?, "v1".parse()?);
//! image.store(&storage, &name, &tag).await?;
//! let registry = FaultyRegistry::start(storage, Script::once(1, Fault::Reset(100))).await?;
//!
//! // The client recovers.
//! let options = ClientOptions::default().credentials(FaultyRegistry::credentials());
//! let client = Arc::new(Client::new(&registry.host(), options)?);
//! assert_eq!(read_image(client, &ImageRef::new(name, tag)).await?, image.manifest);
//! # Ok(())
//! # }
//! ```

mod conformance;
mod fault;
mod kill_switch;
mod registry;
mod rng;
mod sample;

pub use conformance::conformance;
pub use fault::{Fault, Script};
pub use registry::FaultyRegistry;
pub use rng::random_bytes;
pub use sample::{SampleImage, read_image};
