//! The members of a bundle: its parts, cut into blobs and the runs of bytes between them.

use std::collections::HashMap;

use bytes::Bytes;
use compass_registry::Digest;

use super::archive::Archive;
use super::tar::Part;
use super::{BlobOwners, PlannedBlob};
use crate::format::gzip;
use crate::format::member::{Member, MemberCursor};

/// One member of a bundle, in order.
#[derive(Debug, Clone)]
pub(crate) struct PlannedMember {
    pub(crate) place: Member,
    pub(crate) content: Content,
}

/// The content of a member.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// Bytes between blobs, or an image manifest.
    Run(Vec<Piece>),
    /// A blob and the archive that contains it, by index; no archive for a blob of the image store.
    Blob { blob: usize, archive: Option<usize> },
}

/// Bytes of a run that have one origin.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) origin: Origin,
    pub(crate) size: u64,
}

/// The origin of the bytes of a run.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// Bytes of the layout: `bundle.json`, headers, padding or manifests. `archive` is the index of
    /// the archive that contains them.
    Layout { bytes: Bytes, archive: Option<usize> },
    /// A small file, by index.
    File(usize),
}

/// The list of members that is being built.
pub(super) struct MemberList<'o> {
    owners: &'o BlobOwners<'o>,
    cursor: MemberCursor,
    members: Vec<PlannedMember>,
    run: Vec<Piece>,
    blobs: Vec<PlannedBlob>,
    numbers: HashMap<Digest, usize>,
}

impl<'o> MemberList<'o> {
    pub(super) fn new(owners: &'o BlobOwners<'o>) -> Self {
        Self {
            owners,
            cursor: MemberCursor::default(),
            members: Vec::new(),
            run: Vec::new(),
            blobs: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    /// Adds a member that contains only these bytes.
    pub(super) fn add_separate(&mut self, bytes: Bytes, archive: Option<usize>) {
        self.end_run();
        self.extend_run(bytes, archive);
        self.end_run();
    }

    /// Adds the parts of a tar archive. `archives` are the image archives in it.
    pub(super) fn add_parts(&mut self, parts: Vec<Part>, mut archives: Vec<Archive>) {
        for part in parts {
            match part {
                Part::Bytes(bytes) => self.extend_run(bytes, None),
                Part::Manifest(bytes) => self.add_separate(bytes, None),
                Part::File(number, size) => {
                    self.cursor.extend_run(size);
                    self.run.push(Piece { origin: Origin::File(number), size });
                }
                Part::Blob(descriptor) => self.add_blob(descriptor, None),
                Part::Archive(number, _) => {
                    let parts = archives.get_mut(number).map(|one| std::mem::take(&mut one.parts));
                    self.add_archive(number, parts.unwrap_or_default());
                }
            }
        }
        self.end_run();
    }

    /// Adds the parts of an image archive, each of which is a member of it.
    fn add_archive(&mut self, number: usize, parts: Vec<Part>) {
        for part in parts {
            match part {
                Part::Bytes(bytes) => self.extend_run(gzip::member(&bytes).into(), Some(number)),
                Part::Manifest(bytes) => {
                    self.add_separate(gzip::member(&bytes).into(), Some(number));
                }
                Part::Blob(descriptor) => self.add_blob(descriptor, Some(number)),
                // An image archive contains no small files and no archives.
                Part::File(..) | Part::Archive(..) => {}
            }
        }
    }

    fn add_blob(&mut self, descriptor: compass_registry::Descriptor, archive: Option<usize>) {
        self.end_run();
        let (size, digest) = (descriptor.size, descriptor.digest);
        let blob = *self.numbers.entry(digest).or_insert(self.blobs.len());
        if blob == self.blobs.len() {
            self.blobs.push(self.owners.planned(descriptor));
        }
        self.blobs[blob].places.push(self.members.len());
        let place = self.cursor.append(size, archive.is_some());
        self.members.push(PlannedMember { place, content: Content::Blob { blob, archive } });
    }

    fn extend_run(&mut self, bytes: Bytes, archive: Option<usize>) {
        let size = bytes.len() as u64;
        self.cursor.extend_run(size);
        self.run.push(Piece { origin: Origin::Layout { bytes, archive }, size });
    }

    fn end_run(&mut self) {
        let pieces = std::mem::take(&mut self.run);
        if let Some(place) = self.cursor.end_run() {
            self.members.push(PlannedMember { place, content: Content::Run(pieces) });
        }
    }

    /// The members, the distinct blobs in them, and the size of the file.
    pub(super) fn finish(self) -> (Vec<PlannedMember>, Vec<PlannedBlob>, u64) {
        (self.members, self.blobs, self.cursor.offset())
    }
}
