//! The images of an archive: of an OCI layout, of `docker save`, or of both in one file.

mod docker;
mod layers;
mod layout;
pub(crate) mod names;

use std::collections::{BTreeMap, HashMap, HashSet};

use compass_registry::{Digest, RawManifest, Reference, Tag};

use self::names::unnamed_reference;
use super::archive::ScannedArchive;
use super::manifest_format::ManifestFormat;
use crate::Error;

/// An image of a foreign package.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForeignImage {
    /// The archive that contains it.
    pub archive: String,
    /// The reference in the package. Images without one are named below `localhost/unnamed`.
    pub reference: Reference,
    /// The manifest or index. For formats without one, the manifest that a registry will receive.
    pub root: RawManifest,
    /// The manifests and nested indexes below an index.
    pub children: Vec<RawManifest>,
    /// Digest of the configuration, if it is a single image.
    pub config: Option<Digest>,
    /// Problems of the image, each as a sentence.
    pub problems: Vec<String>,
    /// Facts that are not problems, such as platforms that the package omits.
    pub notes: Vec<String>,
    /// Non-distributable layers that the package does not contain, with their download addresses.
    pub unavailable: Vec<(Digest, Option<String>)>,
}

impl ForeignImage {
    /// The root manifest and all manifests below it.
    pub fn manifests(&self) -> impl Iterator<Item = &RawManifest> {
        std::iter::once(&self.root).chain(&self.children)
    }
}

/// Maximum number of layers of an image, and of images of an index. Container runtimes mount fewer
/// layers.
const MAX_LISTED: usize = 1000;

/// Maximum number of entries in all manifests of a package. Those of an image are counted once for
/// each of its names.
const MAX_LISTED_TOTAL: usize = 200_000;

/// Location of a blob in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryBlob {
    pub(super) entry: String,
    /// The blob is the decompressed content of the entry.
    pub(super) is_decompressed: bool,
}

/// Collects the images of a package.
#[derive(Debug, Default)]
pub(super) struct ImageCollector {
    pub(super) images: Vec<ForeignImage>,
    /// Indexes of the images whose name is only a tag.
    tagged: HashSet<usize>,
    listed: usize,
}

/// The results for one archive, in addition to its images.
#[derive(Debug, Default)]
pub(super) struct CollectedArchive {
    pub(super) blobs: Vec<(Digest, EntryBlob)>,
    /// The entries that images use.
    pub(super) used: HashSet<String>,
    /// The archive is an image archive without images.
    pub(super) is_empty: bool,
    /// Facts about the archive that are not problems.
    pub(super) notes: Vec<String>,
}

/// An image, with all its names in one archive.
#[derive(Debug)]
struct ImageCandidate {
    root: RawManifest,
    children: Vec<RawManifest>,
    config: Option<Digest>,
    /// The configurations of all platforms.
    configs: Vec<Digest>,
    names: Vec<Reference>,
    /// A tag without a repository.
    tag: Option<Tag>,
    /// The image is listed in `index.json`.
    from_index: bool,
    problems: Vec<String>,
    notes: Vec<String>,
    unavailable: Vec<(Digest, Option<String>)>,
}

impl ImageCandidate {
    fn manifests(&self) -> impl Iterator<Item = &RawManifest> {
        std::iter::once(&self.root).chain(&self.children)
    }

    fn add_name(&mut self, name: Reference) {
        if !self.names.contains(&name) {
            self.names.push(name);
        }
    }
}

/// The archive whose images are being collected.
struct ArchiveContext<'a> {
    name: &'a str,
    scanned: &'a ScannedArchive,
    found: CollectedArchive,
    listed: &'a mut usize,
}

impl ArchiveContext<'_> {
    /// Counts entries before memory is allocated for them.
    ///
    /// A small archive can refer to the same entries very often.
    ///
    /// # Errors
    /// [`Error::Damaged`] if a limit is exceeded.
    fn reserve(&mut self, listed: usize, names: usize) -> Result<(), Error> {
        *self.listed = self.listed.saturating_add(names.saturating_mul(listed.max(1)));
        if listed > MAX_LISTED || *self.listed > MAX_LISTED_TOTAL {
            return Err(self.damaged("it lists more images and layers than the limits allow"));
        }
        Ok(())
    }

    /// As [`Self::reserve`], for JSON that is about to be parsed.
    fn reserve_json(&mut self, json: &[u8]) -> Result<(), Error> {
        self.reserve(json.len() >> 13, 1)
    }

    fn damaged(&self, what: impl std::fmt::Display) -> Error {
        Error::damaged(format!("{}: {what}", self.name))
    }

    /// Formats a problem of this archive.
    fn problem(&self, what: impl std::fmt::Display) -> String {
        format!("{}: {what}", self.name)
    }

    fn parse<'j, T: serde::Deserialize<'j>>(&self, name: &str, json: &'j [u8]) -> Result<T, Error> {
        serde_json::from_slice(json)
            .map_err(|error| self.damaged(format!("{name} is unreadable: {error}")))
    }

    fn add_blob(&mut self, digest: Digest, entry: &str, is_decompressed: bool) {
        self.found.used.insert(entry.to_owned());
        let blob = EntryBlob { entry: entry.to_owned(), is_decompressed };
        self.found.blobs.push((digest, blob));
    }
}

impl ImageCollector {
    /// Adds the images of an archive: those in `index.json`, and those in `manifest.json`.
    ///
    /// An image in both is added once, with the digests in `index.json`.
    ///
    /// # Errors
    /// [`Error::Damaged`] if one of the two files is unreadable or refers to a missing file.
    pub(super) fn collect(
        &mut self,
        name: &str,
        scanned: &ScannedArchive,
    ) -> Result<CollectedArchive, Error> {
        let found = CollectedArchive::default();
        let mut archive = ArchiveContext { name, scanned, found, listed: &mut self.listed };
        let mut candidates = Vec::new();
        if scanned.format_of("index.json") == Some(ManifestFormat::OciIndex) {
            candidates = layout::read_index(&mut archive)?;
        }
        match scanned.format_of("manifest.json") {
            Some(ManifestFormat::Docker) => docker::add_images(&mut archive, &mut candidates)?,
            Some(ManifestFormat::SkopeoDir) if candidates.is_empty() => {
                candidates.push(layout::read_directory(&mut archive)?);
            }
            _ => {}
        }
        let described = ["index.json", "manifest.json", "oci-layout", "repositories", "version"];
        archive.found.used.extend(described.map(str::to_owned));
        archive.found.is_empty = candidates.is_empty();
        let found = archive.found;
        for candidate in candidates {
            self.add(name, candidate)?;
        }
        Ok(found)
    }

    /// Adds an image under each of its names.
    fn add(&mut self, archive: &str, candidate: ImageCandidate) -> Result<(), Error> {
        let ImageCandidate { root, children, config, problems, mut notes, unavailable, .. } =
            candidate;
        let mut references = candidate.names;
        let own = root.digest();
        let is_other = |name: &&Reference| name.digest().is_some_and(|digest| *digest != own);
        notes.extend(references.iter().filter(is_other).map(|name| {
            format!(
                "{archive}: {name} has another digest in its name than {own}, its digest in a registry: \
                 pulling it by the digest in its name will fail"
            )
        }));
        if references.is_empty() {
            if candidate.tag.is_some() {
                self.tagged.insert(self.images.len());
            }
            // The manifest of a `docker save` image is synthesized, so its configuration identifies
            // it.
            let own = if candidate.from_index { None } else { config };
            let digest = own.unwrap_or_else(|| root.digest());
            let tag = candidate.tag.as_ref().map(Tag::as_str);
            references.push(unnamed_reference(archive, tag, &digest)?);
        }
        self.images.extend(references.into_iter().map(|reference| ForeignImage {
            archive: archive.to_owned(),
            reference,
            root: root.clone(),
            children: children.clone(),
            config,
            problems: problems.clone(),
            notes: notes.clone(),
            unavailable: unavailable.clone(),
        }));
        Ok(())
    }

    /// Returns the images, and a problem for each reference that several images have.
    pub(super) fn finish(mut self) -> Result<(Vec<ForeignImage>, Vec<String>), Error> {
        for number in self.conflicts().into_values().flatten() {
            if self.tagged.contains(&number) {
                let image = &mut self.images[number];
                image.reference = unnamed_reference(&image.archive, None, &image.root.digest())?;
            }
        }
        let problems = self.conflicts().into_iter().map(|(name, images)| {
            let archives = images.iter().map(|number| self.images[*number].archive.as_str());
            let archives: Vec<_> = archives.collect();
            format!("several images are named {name}: in {}", archives.join(", "))
        });
        let problems = problems.collect();
        Ok((self.images, problems))
    }

    /// The references that different images share, with the indexes of those images.
    fn conflicts(&self) -> BTreeMap<Reference, Vec<usize>> {
        let mut named: HashMap<Reference, Vec<(Digest, usize)>> = HashMap::new();
        for (number, image) in self.images.iter().enumerate() {
            let reference = image.reference.with_default_tag();
            if reference.tag().is_none() {
                continue;
            }
            let digests = named.entry(reference).or_default();
            let digest = image.root.digest();
            if digests.iter().all(|(other, _)| *other != digest) {
                digests.push((digest, number));
            }
        }
        let several = named.into_iter().filter(|(_, digests)| digests.len() > 1);
        several
            .map(|(name, digests)| (name, digests.into_iter().map(|(_, number)| number).collect()))
            .collect()
    }
}
