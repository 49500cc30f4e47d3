//! The one operation that moves images.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::progress::BlobProgress;
use crate::{
    Descriptor, Digest, Error, ImageSink, ImageSource, ImageSourceExt as _, Locator, Manifest,
    NoProgress, Platform, Progress, RawManifest, Repository, Tag, open_resuming,
};

/// An index may hold indexes; more levels than this are an attack.
const MAX_INDEX_DEPTH: usize = 4;

/// How to copy.
#[derive(Clone)]
pub struct CopyOptions {
    /// Copies the image for one platform only; otherwise everything, whole indexes included.
    pub platform: Option<Platform>,
    /// How many blobs move at once; at least one.
    pub jobs: usize,
    /// Hears how it goes on, in bytes of blobs.
    pub progress: Arc<dyn Progress>,
}

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The digest of the image manifest or index, equal at both ends.
    pub digest: Digest,
    /// Blobs that were moved.
    pub blobs: usize,
    /// Bytes of the blobs that were moved.
    pub bytes: u64,
    /// Bytes of the blobs that were there already.
    pub present: u64,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self { platform: None, jobs: 4, progress: Arc::new(NoProgress) }
    }
}

/// Copies an image with everything it consists of. The tag is moved last: at no moment does it
/// point at something incomplete. Where it points at this image already, nothing is moved.
///
/// # Errors
/// The first error of either end. What has been written until then stays; a second try finds it.
pub async fn copy(
    source: Arc<dyn ImageSource>,
    (from, locator): (&Repository, &Locator),
    sink: &dyn ImageSink,
    (to, tag): (&Repository, Option<&Tag>),
    options: &CopyOptions,
) -> Result<Copied, Error> {
    let root = match &options.platform {
        Some(platform) => source.image(from, locator, platform).await?,
        None => source.verified_manifest(from, locator).await?,
    };
    let destination = tag.map_or(Locator::Digest(root.digest()), |tag| tag.clone().into());
    if sink.manifest_digest(to, &destination).await? == Some(root.digest()) {
        return Ok(Copied { digest: root.digest(), blobs: 0, bytes: 0, present: 0 });
    }
    let mut image = Tree::default();
    collect(&*source, from, root, 0, &mut image).await?;
    options.progress.expect(image.blobs.iter().map(|blob| blob.size).sum());

    let moves = image.blobs.iter().map(|blob| move_blob(&source, from, blob, sink, to, options));
    let moved: Vec<bool> = stream::iter(moves).buffered(options.jobs.max(1)).try_collect().await?;

    let (root, parts) = image.manifests.split_last().ok_or_else(|| Error::BadContent {
        what: format!("{from}:{locator}"),
        reason: "it is empty".to_owned(),
    })?;
    for part in parts {
        sink.put_manifest(to, part, None).await?;
    }
    sink.put_manifest(to, root, tag).await?;

    let size = |wanted: bool| {
        let of = image.blobs.iter().zip(&moved).filter(move |(_, moved)| **moved == wanted);
        of.map(|(blob, _)| blob.size).sum()
    };
    Ok(Copied {
        digest: root.digest(),
        blobs: moved.iter().filter(|moved| **moved).count(),
        bytes: size(true),
        present: size(false),
    })
}

/// Everything that an image consists of; manifests stand after what they refer to.
#[derive(Default)]
struct Tree {
    manifests: Vec<RawManifest>,
    blobs: Vec<Descriptor>,
    seen: HashSet<Digest>,
}

async fn collect(
    source: &dyn ImageSource,
    repository: &Repository,
    manifest: RawManifest,
    depth: usize,
    tree: &mut Tree,
) -> Result<(), Error> {
    match manifest.parse()? {
        Manifest::Image { config, layers } => {
            let held = layers.into_iter().filter(|layer| !layer.is_held_elsewhere());
            for blob in std::iter::once(config).chain(held) {
                if tree.seen.insert(blob.digest) {
                    tree.blobs.push(blob);
                }
            }
        }
        Manifest::Index(_) if depth >= MAX_INDEX_DEPTH => {
            return Err(Error::BadContent {
                what: format!("index {}", manifest.digest()),
                reason: format!("indexes are nested more than {MAX_INDEX_DEPTH} deep"),
            });
        }
        Manifest::Index(images) => {
            for image in images {
                if tree.seen.insert(image.digest) {
                    let locator = Locator::Digest(image.digest);
                    let part = source.verified_manifest(repository, &locator).await?;
                    Box::pin(collect(source, repository, part, depth + 1, tree)).await?;
                }
            }
        }
    }
    tree.manifests.push(manifest);
    Ok(())
}

/// Moves a blob where it is not there yet, and says whether it was moved.
async fn move_blob(
    source: &Arc<dyn ImageSource>,
    from: &Repository,
    descriptor: &Descriptor,
    sink: &dyn ImageSink,
    to: &Repository,
    options: &CopyOptions,
) -> Result<bool, Error> {
    let progress = BlobProgress::new(Arc::clone(&options.progress));
    let retry = source.retry();
    let move_once = || async {
        if sink.has_blob(to, descriptor).await? {
            return Ok(false);
        }
        let blob = open_resuming(Arc::clone(source), from, descriptor);
        sink.put_blob(to, blob.reporting_to(progress.clone())).await?;
        Ok(true)
    };
    let moved = retry.run(move_once).await.map_err(|error| error.in_blob(to, descriptor.digest))?;
    progress.reach(descriptor.size);
    Ok(moved)
}
