//! Cuts a blob that has several places into parts.

use std::ops::Range;

use super::part::{Part, PartBuffer};
use super::part_layout::PartLayout;
use super::upload::PartSender;
use crate::Error;
use crate::format::member::{Member, MemberEncoder};

/// The places of a blob with equal framing. Its bytes are cut at the same positions there.
pub(super) struct Places {
    layout: PartLayout,
    member: Member,
    encoder: MemberEncoder,
    /// The numbers of the parts at each place.
    parts: Vec<Range<u64>>,
    /// The first part of each place, which also has the bytes before the blob.
    first: Vec<PartBuffer>,
    /// The later part that is being filled.
    later: Option<PartBuffer>,
    /// The index of the part that is being filled, and the bytes that it lacks.
    index: u64,
    left: u64,
    is_begun: bool,
}

impl Places {
    pub(super) fn new(member: Member, layout: PartLayout) -> Self {
        Self {
            layout,
            member,
            encoder: member.encoder(),
            parts: Vec::new(),
            first: Vec::new(),
            later: None,
            index: 0,
            left: 0,
            is_begun: false,
        }
    }

    /// Adds a place. `first` is its first part with the bytes before the blob.
    pub(super) fn add(&mut self, parts: Range<u64>, first: PartBuffer) {
        if self.parts.is_empty() {
            self.left = self.layout.range(parts.start).end.saturating_sub(self.member.offset);
        }
        self.parts.push(parts);
        self.first.push(first);
    }

    /// Takes the next bytes of the blob, and passes on the parts that they complete.
    pub(super) async fn push(&mut self, content: &[u8], parts: &PartSender) -> Result<(), Error> {
        let mut framed = Vec::with_capacity(content.len() + content.len() / 4096 + 64);
        if !std::mem::replace(&mut self.is_begun, true) {
            self.encoder.begin(|slice| framed.extend_from_slice(slice));
        }
        self.encoder.push(content, |slice| framed.extend_from_slice(slice));
        self.add_framed(&framed, parts).await
    }

    /// Adds the trailers after the blob, and passes on the last parts.
    pub(super) async fn finish(mut self, parts: &PartSender) -> Result<(), Error> {
        let mut framed = Vec::new();
        let encoder = std::mem::replace(&mut self.encoder, self.member.encoder());
        encoder.finish(|slice| framed.extend_from_slice(slice));
        self.add_framed(&framed, parts).await
    }

    async fn add_framed(&mut self, mut framed: &[u8], parts: &PartSender) -> Result<(), Error> {
        while !framed.is_empty() {
            let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(framed.len());
            let (bytes, rest) = framed.split_at(most);
            match &mut self.later {
                Some(buffer) => buffer.push(bytes)?,
                None => self.first.iter_mut().try_for_each(|buffer| buffer.push(bytes))?,
            }
            self.left -= bytes.len() as u64;
            framed = rest;
            if self.left == 0 {
                self.complete_part(parts).await?;
                if self.left == 0 && !framed.is_empty() {
                    return Err(Error::damaged("a blob is longer than its plan"));
                }
            }
        }
        Ok(())
    }

    /// Passes on the current part, and begins the next one.
    async fn complete_part(&mut self, parts: &PartSender) -> Result<(), Error> {
        let numbers: Vec<_> = self.parts.iter().map(|parts| parts.start + self.index).collect();
        let completed: Vec<Part> = match self.later.take() {
            Some(buffer) => {
                let part = buffer.finish()?;
                numbers.iter().map(|number| Part { number: *number, ..part.clone() }).collect()
            }
            None => self.first.drain(..).map(PartBuffer::finish).collect::<Result<_, _>>()?,
        };
        let Some(Range { start, end }) = self.parts.first().cloned() else { return Ok(()) };
        let is_last = start + self.index + 1 == end;
        for part in completed {
            let is_last_of_blob = is_last && self.index > 0;
            parts.send(Part { is_last_of_blob, ..part }).await;
        }
        self.index += 1;
        if !is_last {
            let number = start + self.index;
            self.left = self.layout.part_size(number);
            self.later = Some(PartBuffer::new(number, self.left, parts.memory()).await?);
        }
        Ok(())
    }
}
