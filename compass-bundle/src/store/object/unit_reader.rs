//! Reads the parts of a planned bundle from the source of its blobs.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use compass_registry::{Hasher, ImageSource, open_blob};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::checksum::ObjectChecksum;
use super::file_parts::Summary;
use super::part::{Part, PartBuffer};
use super::part_layout::PartLayout;
use super::repeated_blob::Places;
use super::units::{Span, Unit};
use super::upload::PartSender;
use crate::format::member::Member;
use crate::plan::PlannedBlob;
use crate::plan::members::Content;
use crate::write::stream_members;
use crate::{BundlePlan, Error};

/// The maximum number of places of a blob whose first parts are in memory at once.
const MAX_PLACES_IN_MEMORY: usize = 2;

/// Reads units of a planned bundle, each large blob once.
pub(super) struct UnitReader {
    plan: Arc<BundlePlan>,
    source: Arc<dyn ImageSource>,
    layout: PartLayout,
    /// The digest and checksums of the parts so far, if all parts are read in order.
    hashers: Option<(Hasher, ObjectChecksum)>,
}

impl UnitReader {
    /// Creates a reader. `is_complete` tells that all units will be read in order.
    pub(super) fn new(
        plan: Arc<BundlePlan>,
        source: Arc<dyn ImageSource>,
        layout: PartLayout,
        is_complete: bool,
    ) -> Self {
        Self { plan, source, layout, hashers: is_complete.then(Default::default) }
    }

    /// Reads the parts of a unit. Their bytes were verified when the last one is passed on.
    ///
    /// # Errors
    /// The errors of the source, which name the blob.
    pub(super) async fn read(&mut self, unit: &Unit, parts: &PartSender) -> Result<(), Error> {
        match &unit.spans[..] {
            [span] => self.read_span(span, parts).await,
            spans => {
                // The same bytes are at several places, so not all are read in order.
                self.hashers = None;
                self.read_repeated(spans, parts).await
            }
        }
    }

    /// The digest and checksums of the whole, if all parts were read in order.
    pub(super) fn finish(self) -> Option<Summary> {
        let (hasher, object) = self.hashers?;
        Some(Summary { digest: hasher.finish(), object })
    }

    async fn read_span(&mut self, span: &Span, parts: &PartSender) -> Result<(), Error> {
        let members = span.members.clone();
        let chunks = stream_members(Arc::clone(&self.plan), Arc::clone(&self.source), members);
        let (mut chunks, mut rest) = (chunks.boxed(), Bytes::new());
        for number in span.parts.clone() {
            let mut left = self.layout.part_size(number);
            let mut buffer = PartBuffer::new(number, left, parts.memory()).await?;
            while left > 0 {
                if rest.is_empty() {
                    let next = chunks.try_next().await?;
                    rest = next.ok_or_else(|| Error::damaged("the bundle ended too early"))?;
                }
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                let bytes = rest.split_to(most);
                if let Some((hasher, _)) = &mut self.hashers {
                    hasher.update(&bytes);
                }
                buffer.push(&bytes)?;
                left -= bytes.len() as u64;
            }
            let is_last = number + 1 == span.parts.end;
            if is_last && (!rest.is_empty() || chunks.try_next().await?.is_some()) {
                return Err(Error::damaged("the bundle is longer than its plan"));
            }
            let mut part = buffer.finish()?;
            part.is_last_of_blob = is_last && number > span.parts.start;
            self.pass_on(part, parts).await;
        }
        Ok(())
    }

    async fn pass_on(&mut self, part: Part, parts: &PartSender) {
        if let Some((_, object)) = &mut self.hashers {
            object.add(&part.content.checksum);
        }
        parts.send(part).await;
    }

    /// Reads a blob once, and passes on its parts at all its places.
    async fn read_repeated(&self, spans: &[Span], parts: &PartSender) -> Result<(), Error> {
        let mut by_nesting: BTreeMap<bool, Places> = BTreeMap::new();
        let mut read = None;
        for span in spans {
            let Some((member, blob)) = self.last_blob(span) else { continue };
            read = Some(blob);
            let first = self.first_part(span, spans.len(), parts).await?;
            let places = by_nesting.entry(member.nested);
            let places = places.or_insert_with(|| Places::new(member, self.layout.clone()));
            places.add(span.parts.clone(), first);
        }
        let Some(blob) = read else { return Ok(()) };
        let mut bytes = open_blob(Arc::clone(&self.source), &blob.repository, &blob.descriptor);
        while let Some(chunk) = bytes.next().await {
            let in_blob = |error: compass_registry::Error| {
                Error::from(error.in_blob(&blob.reference, blob.descriptor.digest))
            };
            let chunk = chunk.map_err(in_blob)?;
            for places in by_nesting.values_mut() {
                places.push(&chunk, parts).await?;
            }
        }
        for places in by_nesting.into_values() {
            places.finish(parts).await?;
        }
        Ok(())
    }

    /// The blob at the end of a span, and its place.
    fn last_blob(&self, span: &Span) -> Option<(Member, &PlannedBlob)> {
        let member = self.plan.members().get(span.members.end.checked_sub(1)?)?;
        match member.content {
            Content::Blob { blob, .. } => Some((member.place, self.plan.blobs().get(blob)?)),
            Content::Run(_) => None,
        }
    }

    /// The first part of a span with the bytes before the blob.
    async fn first_part(
        &self,
        span: &Span,
        places: usize,
        parts: &PartSender,
    ) -> Result<PartBuffer, Error> {
        let number = span.parts.start;
        let mut buffer = match places {
            0..=MAX_PLACES_IN_MEMORY => {
                PartBuffer::new(number, self.layout.part_size(number), parts.memory()).await?
            }
            _ => PartBuffer::on_disk(number)?,
        };
        let members = span.members.start..span.members.end - 1;
        let chunks = stream_members(Arc::clone(&self.plan), Arc::clone(&self.source), members);
        let mut chunks = chunks.boxed();
        while let Some(chunk) = chunks.try_next().await? {
            buffer.push(&chunk)?;
        }
        Ok(buffer)
    }
}
