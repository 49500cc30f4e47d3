//! The contents of a foreign package: images of all archives, files and problems.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use compass_registry::{Digest, RawManifest};

use super::archive::{PRE_1_10, ScannedArchive, UNLISTED};
use super::images::{CollectedArchive, EntryBlob, ForeignImage, ImageCollector};
use super::scan::{Scan, ScanError, unread_archives_note, unread_images_reason};
use super::tar_entries::in_file;
use super::{ForeignFile, PackageProblem};
use crate::Error;
use crate::format::document::FILE_NAME;
use crate::read::BundleSource;

#[derive(Debug, Clone)]
pub(super) struct Contents {
    pub(super) source: Arc<dyn BundleSource>,
    pub(super) digest: Option<Digest>,
    pub(super) files: Vec<ForeignFile>,
    /// Targets of links, by the path of the link.
    pub(super) links: HashMap<String, String>,
    pub(super) problems: Vec<PackageProblem>,
    pub(super) notes: Vec<String>,
    /// Whether this is a product bundle that was unpacked and archived again.
    pub(super) is_archived_product: bool,
    pub(super) images: Vec<ForeignImage>,
    pub(super) blobs: HashMap<Digest, BlobLocation>,
}

/// Location of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct BlobLocation {
    /// The image archive in the package, or `None` if the package itself is one.
    pub(super) archive: Option<String>,
    pub(super) entry: String,
    /// The blob is the decompressed content of the entry.
    pub(super) is_decompressed: bool,
}

impl Contents {
    /// Combines the results of a scan.
    pub(super) fn new(
        source: Arc<dyn BundleSource>,
        digest: Option<Digest>,
        mut scan: Scan,
    ) -> Result<Self, Error> {
        let name = source.name();
        if scan.root.is_pre_1_10() {
            return Err(Error::not_a_bundle(&name, PRE_1_10));
        }
        let links = scan.root.links().filter_map(|(path, file)| Some((path, file?)));
        let links = links.map(|(path, file)| (path.to_owned(), file.to_owned())).collect();
        let name_of = |path: &str| path.rsplit('/').next() == Some(FILE_NAME);
        let has_document = scan.files.iter().any(|file| name_of(&file.path));
        let mut contents = Self {
            digest,
            source,
            files: Vec::new(),
            links,
            problems: Vec::new(),
            notes: Vec::new(),
            is_archived_product: has_document && scan.root.image_directories().next().is_some(),
            images: Vec::new(),
            blobs: HashMap::new(),
        };
        let used = contents.add_images(&mut scan)?;
        if scan.root.has_unlisted_images() {
            contents.add_problem(None, format!("it {UNLISTED}"));
        }
        if !scan.root.is_image() {
            contents.files = scan.files;
        }
        let notes = scan.notes.into_iter().filter(|(path, _)| !used.contains(path));
        contents.notes.extend(notes.map(|(path, note)| format!("{path}: {note}")));
        let unread_files = scan.unread_files.into_iter().filter(|(path, _)| !used.contains(path));
        let unsafe_entries =
            scan.unsafe_entries.into_iter().map(|(path, reason)| (path, reason.to_owned()));
        for (path, reason) in unsafe_entries.chain(unread_files) {
            contents.add_problem(Some(path), format!("it {reason}"));
        }
        Ok(contents)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.images.is_empty() && self.files.is_empty() && self.problems.is_empty()
    }

    /// Collects the images of all archives. Returns the entries of the package that images use.
    fn add_images(&mut self, scan: &mut Scan) -> Result<HashSet<String>, Error> {
        let mut images = ImageCollector::default();
        // The package may itself be the output of `docker save`.
        let used = self.add(None, &scan.root, &mut images)?;
        check_scan_errors(&self.source.name(), &scan.errors, &used)?;
        // Archives within a layer are content of the layer.
        scan.archives.retain(|(path, _)| !used.contains(path));
        let mut archives = vec![(None, &scan.root, used)];
        for (path, archive) in &scan.archives {
            let used = self.add(Some(path), archive, &mut images)?;
            archives.push((Some(path), archive, used));
        }
        let (images, conflicts) = images.finish()?;
        self.images = images;
        for image in &mut self.images {
            // Another archive of the package may contain the layer.
            image.unavailable.retain(|(layer, _)| !self.blobs.contains_key(layer));
        }
        self.report_unread_images(&archives);
        for what in conflicts {
            self.add_problem(None, what);
        }
        Ok(archives.swap_remove(0).2)
    }

    /// Collects the images of the package itself or of an archive in it. Returns the entries that
    /// they use.
    fn add(
        &mut self,
        archive: Option<&String>,
        scanned: &ScannedArchive,
        images: &mut ImageCollector,
    ) -> Result<HashSet<String>, Error> {
        let name = archive.map_or_else(|| self.source.name(), Clone::clone);
        let found = match scanned.is_image() {
            true => images.collect(&name, scanned)?,
            false => CollectedArchive::default(),
        };
        for (digest, EntryBlob { entry, is_decompressed }) in found.blobs {
            let location = || BlobLocation { archive: archive.cloned(), entry, is_decompressed };
            self.blobs.entry(digest).or_insert_with(location);
        }
        self.notes.extend(found.notes);
        if found.is_empty {
            let what = "it is an image archive, but contains no image".to_owned();
            self.add_problem(archive.cloned(), what);
        }
        Ok(found.used)
    }

    /// Reports images in directories or nested archives, which are not read.
    fn report_unread_images(
        &mut self,
        archives: &[(Option<&String>, &ScannedArchive, HashSet<String>)],
    ) {
        let manifests = self.images.iter().flat_map(ForeignImage::manifests);
        let known: HashSet<_> = manifests.map(RawManifest::digest).collect();
        for (archive, scanned, used) in archives {
            if let Some(reason) = unread_images_reason(scanned, used, &known) {
                self.add_problem(archive.cloned(), format!("it {reason}"));
            } else if let (Some(archive), Some(note)) =
                (archive, unread_archives_note(scanned, used))
            {
                self.notes.push(format!("{archive}: {note}"));
            }
        }
    }

    fn add_problem(&mut self, file: Option<String>, what: String) {
        self.problems.push(PackageProblem { file, image: None, what });
    }
}

/// Returns an error if a file could not be inspected. Files that are layers are exempt: their
/// digests are compared instead.
fn check_scan_errors(
    name: &str,
    errors: &[ScanError],
    used: &HashSet<String>,
) -> Result<(), Error> {
    match errors.iter().find(|error| !used.contains(&error.path)) {
        Some(ScanError { path, reason }) => {
            Err(Error::reading_anything(name, in_file(path, reason)))
        }
        None => Ok(()),
    }
}
