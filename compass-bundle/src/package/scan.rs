//! A package is looked through once, from its beginning to its end.

use std::io::{Error, ErrorKind};

use bytes::Bytes;

use super::PackageFile;
use super::archive::{Room, ScannedArchive};
use super::gzip::Budget;
use super::peel::{Peeled, Reader, peel_within};
use super::walk::{Entries, Entry, in_file};
use crate::naming::ARCHIVE_END;

/// The largest YAML that is kept: the limit of release manifests.
const MAX_YAML: u64 = 4 << 20;

/// Files that a package may hold.
const MAX_FILES: usize = 100_000;

/// What a package holds.
#[derive(Default)]
pub(super) struct Scan {
    /// The package, as if it were an image archive.
    pub(super) whole: ScannedArchive,
    pub(super) files: Vec<PackageFile>,
    pub(super) archives: Vec<(String, ScannedArchive)>,
    /// Entries that nobody should unpack, and why.
    pub(super) refused: Vec<(String, &'static str)>,
    faults: Vec<Fault>,
    room: Room,
    budget: Budget,
}

/// A file that could not be looked into.
struct Fault {
    path: String,
    reason: Error,
}

impl Scan {
    /// Reads a package to its end.
    pub(super) async fn of(tar: Reader, budget: Budget) -> std::io::Result<Self> {
        let mut scan = Self { budget, ..Self::default() };
        let mut entries = Entries::of(tar)?;
        while let Some(entry) = entries.next().await? {
            scan.take(entry).await?;
        }
        match scan.faults.iter().position(|fault| !scan.is_excused(fault)) {
            Some(first) => {
                let Fault { path, reason } = scan.faults.swap_remove(first);
                Err(in_file(&path, &reason))
            }
            None => Ok(scan),
        }
    }

    /// Layers may hold what packages may not, and plain ones are proved by the digests in the
    /// configuration, whatever is in them.
    fn is_excused(&self, fault: &Fault) -> bool {
        let is_whole = fault.reason.kind() == ErrorKind::Unsupported;
        let is_plain = || self.whole.get(&fault.path).is_some_and(|(_, entry)| !entry.is_gzip());
        self.whole.is_image() && (is_whole || is_plain())
    }

    async fn take(&mut self, mut entry: Entry) -> std::io::Result<()> {
        let taken = self.files.len() + self.archives.len() + self.faults.len();
        if taken + self.refused.len() >= MAX_FILES {
            return Err(Error::other("it holds too many files"));
        }
        if let Some(reason) = entry.refused() {
            self.room.take(&entry.path, 0)?;
            self.refused.push((entry.path.clone(), reason));
        }
        if !entry.is_file {
            return self.whole.link(&entry, &mut self.room);
        }
        let path = entry.path.clone();
        let (reader, sum) = entry.hashed();
        let before = self.room;
        let inside = look_into(&path, reader, (&mut self.room, &self.budget)).await;
        let is_image = matches!(&inside, Ok(Some(archive)) if archive.is_image());
        if !is_image {
            // Nothing of it is kept.
            self.room = before;
        }
        // Where it is the package that cannot be read on, this says so.
        sum.drain().await?;
        let head = sum.kept();
        let (digest, size) = sum.finish();
        let yaml = matches!(inside, Ok(None)).then(|| kept_yaml(&path, size, &head)).flatten();
        self.room.take(&path, yaml.as_ref().map_or(0, Bytes::len))?;
        self.whole.add_blob(path.clone(), (digest, size, head), &mut self.room)?;
        match inside {
            Ok(Some(archive)) if is_image => self.archives.push((path, archive)),
            Ok(_) => self.files.push(PackageFile { path, size, digest, yaml }),
            Err(reason) => {
                self.room.take("", reason.to_string().len())?;
                self.faults.push(Fault { path, reason });
            }
        }
        Ok(())
    }
}

/// What an archive holds; nothing for what is no archive, and is not named as one.
async fn look_into(
    path: &str,
    reader: Reader,
    (room, budget): (&mut Room, &Budget),
) -> std::io::Result<Option<ScannedArchive>> {
    let Peeled::Tar(tar) = peel_within(reader, budget).await? else {
        return match path.ends_with(ARCHIVE_END) {
            true => Err(Error::other("it is named as an image archive, and is no archive")),
            false => Ok(None),
        };
    };
    let mut archive = ScannedArchive::default();
    let mut entries = Entries::of(tar)?;
    while let Some(entry) = entries.next().await? {
        archive.take(entry, (room, budget)).await?;
    }
    if path.ends_with(ARCHIVE_END) && !archive.is_image() {
        return Err(Error::other(archive.why_no_image()));
    }
    Ok(Some(archive))
}

fn kept_yaml(path: &str, size: u64, head: &Bytes) -> Option<Bytes> {
    let is_yaml = [".yaml", ".yml"].iter().any(|end| path.ends_with(end));
    (is_yaml && size <= MAX_YAML).then(|| head.clone())
}
