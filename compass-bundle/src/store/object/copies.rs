//! Parts that are copied from bundles in the same bucket.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use compass_registry::{
    ByteStream, Descriptor, Digest, Error as RegistryError, ImageSource, RangeOptions, RawManifest,
    Repository, RetryPolicy, TagOrDigest,
};

use super::address::ObjectAddress;
use super::client::{Client, Copy, ListedObject};
use super::object_file::ObjectFile;
use super::part_layout::{MIN_PART, PartLayout};
use crate::format::member::Member;
use crate::plan::members::Content;
use crate::store::path::siblings;
use crate::store::stored_bundle::parse_path;
use crate::{Bundle, BundlePlan, Error};

/// The maximum number of published bundles whose blobs are copied, the newest first.
const MAX_BUNDLES: usize = 3;

/// The parts of an object whose bytes other objects have.
#[derive(Debug, Default)]
pub(super) struct Copies {
    bundles: Vec<(String, Bundle)>,
    parts: HashMap<u64, Copy>,
    /// The copied blobs, with the bundle that has them.
    blobs: HashMap<Digest, usize>,
    /// Whether the storage has refused a copy.
    is_refused: AtomicBool,
}

/// The place of a blob in a published bundle.
struct Place {
    bundle: usize,
    member: Member,
}

impl Copies {
    /// Finds the blobs of a plan in the newest published bundles of the same name.
    ///
    /// A bundle that cannot be read is skipped, because all bytes can be sent as well.
    ///
    /// # Errors
    /// [`Error::Store`] if the bucket does not exist. Some storages would create it.
    pub(super) async fn find(
        client: &Client,
        store: &ObjectAddress,
        plan: &BundlePlan,
        layout: &PartLayout,
    ) -> Result<Self, Error> {
        let bundles = match newest(client, store, plan).await {
            Ok(objects) => open(client, store, objects).await,
            Err(error) if error.is_not_found() => {
                return Err(Error::store("list", &store.shown, error));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot list published bundles, so nothing is copied");
                Vec::new()
            }
        };
        let mut places = HashMap::new();
        for (bundle, (_, opened)) in bundles.iter().enumerate() {
            for member in opened.plan().members() {
                let Content::Blob { blob, .. } = member.content else { continue };
                let digest = opened.plan().blobs()[blob].descriptor.digest;
                let key = (digest, member.place.nested, member.place.size);
                places.entry(key).or_insert(Place { bundle, member: member.place });
            }
        }
        let mut copies = Self { bundles, ..Self::default() };
        for number in 1..=layout.count() {
            copies.add(number, layout.range(number), plan, &places);
        }
        Ok(copies)
    }

    /// Adds a part if all its bytes are those of one published blob.
    fn add(
        &mut self,
        number: u64,
        range: Range<u64>,
        plan: &BundlePlan,
        places: &HashMap<(Digest, bool, u64), Place>,
    ) {
        if range.end - range.start < MIN_PART {
            return;
        }
        let members = plan.members();
        let next = members.partition_point(|member| member.place.offset <= range.start);
        let Some(member) = next.checked_sub(1).and_then(|index| members.get(index)) else { return };
        let Content::Blob { blob, .. } = member.content else { return };
        if member.place.file_range().end < range.end {
            return;
        }
        let digest = plan.blobs()[blob].descriptor.digest;
        let Some(place) = places.get(&(digest, member.place.nested, member.place.size)) else {
            return;
        };
        let start = place.member.offset + (range.start - member.place.offset);
        let key = self.bundles[place.bundle].0.clone();
        let range = start..start + (range.end - range.start);
        self.parts.insert(number, Copy { key, range });
        self.blobs.insert(digest, place.bundle);
    }

    /// The range that has the bytes of a part, unless the storage refuses copies.
    pub(super) fn of_part(&self, number: u64) -> Option<&Copy> {
        self.parts.get(&number).filter(|_| !self.is_refused.load(Ordering::Relaxed))
    }

    /// Makes all other parts be sent, because the storage has refused a copy.
    pub(super) fn refuse(&self) {
        self.is_refused.store(true, Ordering::Relaxed);
    }

    /// Whether an error is about a blob that is read from a published bundle.
    pub(super) fn caused(&self, error: &Error) -> bool {
        match error {
            Error::Registry(RegistryError::Blob { digest, .. }) => self.blobs.contains_key(digest),
            _ => false,
        }
    }
}

/// The published bundles of the same name, the newest first.
async fn newest(
    client: &Client,
    store: &ObjectAddress,
    plan: &BundlePlan,
) -> Result<Vec<ListedObject>, super::client::RequestError> {
    let document = plan.document();
    let directory = store.join(&siblings(document)).key;
    let mut objects = client.list_objects(&format!("{directory}/")).await?;
    let root = store.join("").key;
    objects.retain(|object| {
        let parsed = object.key.strip_prefix(&root).and_then(parse_path);
        parsed.is_some_and(|(kind, name, _)| kind == document.kind && name == document.name)
    });
    objects.sort_by(|one, other| other.last_modified.cmp(&one.last_modified));
    objects.truncate(MAX_BUNDLES);
    Ok(objects)
}

/// Opens bundles. Skips those that cannot be read.
async fn open(
    client: &Client,
    store: &ObjectAddress,
    objects: Vec<ListedObject>,
) -> Vec<(String, Bundle)> {
    let root = store.join("").key;
    let mut opened = Vec::new();
    for ListedObject { key, size, .. } in objects {
        let address = store.join(key.strip_prefix(&root).unwrap_or_default());
        let file = ObjectFile::new(client.clone(), &address, size);
        match Bundle::read(Arc::new(file)).await {
            Ok(bundle) => opened.push((key, bundle)),
            Err(error) => tracing::warn!(%error, key, "cannot read a published bundle"),
        }
    }
    opened
}

/// The length and the number of the ranges of a blob that are read in advance, in addition to the
/// memory of the parts.
const PREFETCHED_RANGES: (u64, usize) = (2 << 20, 2);

/// A source that reads copied blobs from the published bundles, so that they are compared with their
/// digests, and all others from another source.
pub(super) struct WithCopies {
    copies: Arc<Copies>,
    source: Arc<dyn ImageSource>,
    ranges: RangeOptions,
}

impl WithCopies {
    pub(super) fn new(copies: Arc<Copies>, source: Arc<dyn ImageSource>) -> Self {
        let (length, connections) = PREFETCHED_RANGES;
        Self { copies, source, ranges: RangeOptions::new(length, connections) }
    }

    /// The published bundle that a blob is copied from.
    fn bundle_of(&self, digest: &Digest) -> Option<&Bundle> {
        let number = self.copies.blobs.get(digest)?;
        self.copies.bundles.get(*number).map(|(_, bundle)| bundle)
    }
}

#[async_trait]
impl ImageSource for WithCopies {
    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<RawManifest, RegistryError> {
        self.source.manifest(repository, reference).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, RegistryError> {
        match self.bundle_of(&descriptor.digest) {
            Some(bundle) => bundle.blob(repository, descriptor, range).await,
            None => self.source.blob(repository, descriptor, range).await,
        }
    }

    fn range_options(&self) -> Option<&RangeOptions> {
        self.source.range_options().map(|_| &self.ranges)
    }

    fn retry(&self) -> RetryPolicy {
        self.source.retry()
    }
}
