//! A mirror: copies an image from a custom [`ImageSource`], which reads blobs from a nearby source if it has them.
//!
//! `cargo run -p compass-examples --example mirror`

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use compass_registry::storage::MemoryStorage;
use compass_registry::{
    ByteStream, Descriptor, Destination, Error, ImageBuilder, ImageRef, ImageSource, Layer,
    RawManifest, Repository, Tag, TagOrDigest, copy,
};

struct Mirrored {
    nearby: Arc<dyn ImageSource>,
    origin: Arc<dyn ImageSource>,
}

#[async_trait]
impl ImageSource for Mirrored {
    async fn manifest(&self, name: &Repository, tag: &TagOrDigest) -> Result<RawManifest, Error> {
        // Only the origin has the current digest of a tag.
        self.origin.manifest(name, tag).await
    }

    async fn blob(
        &self,
        name: &Repository,
        blob: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, Error> {
        match self.nearby.blob(name, blob, range.clone()).await {
            Err(error) if error.is_not_found() => self.origin.blob(name, blob, range).await,
            found => found,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let (name, tag): (Repository, Tag) = ("team/web".parse()?, "v1.0.0".parse()?);
    let (nearby, origin, sink) = <(MemoryStorage, MemoryStorage, MemoryStorage)>::default();
    // The layer is in both registries, and the copy reads the nearby one.
    nearby.add_blob(&name, *b"layer");
    let image = ImageBuilder::new("linux/amd64".parse()?).layer(Layer::tar("layer")).build();
    image.push(Arc::new(origin.clone()), &Destination::new(name.clone(), tag.clone())).await?;

    let source = Arc::new(Mirrored { nearby: Arc::new(nearby), origin: Arc::new(origin) });
    let (from, to) = (ImageRef::new(name.clone(), tag.clone()), Destination::new(name, tag));
    let report = copy(source, &from, Arc::new(sink), &to).await?;
    println!("copied {from} as {to} with digest {}, {} blobs", report.digest, report.blobs);
    Ok(())
}
