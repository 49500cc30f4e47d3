//! How far each blob of an unfinished bundle has come: what lets a later run go on.
//!
//! What it says is a hint and no more: everything that it calls written is read again and proven
//! by its digest.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::part_file::open_own;
use crate::Error;
use crate::plan::BundlePlan;

const HEADER: usize = 80;

/// A file of one number a blob: how many of its bytes have been written.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens the journal of an unfinished bundle, or begins one. Gives the marks of all blobs;
    /// they are 0 where the journal is of another plan.
    pub(crate) fn open(part: &Path, plan: &BundlePlan) -> Result<(Self, Vec<u64>), Error> {
        let path = Self::path_beside(part);
        let mut file = open_own(&path)?;
        let header = header(plan);
        let limit = HEADER + 8 * plan.blobs().len();
        let mut bytes = Vec::new();
        let read = (&mut file).take(limit as u64 + 1).read_to_end(&mut bytes);
        read.map_err(Error::io("read", &path))?;
        let marks = match bytes.strip_prefix(&header[..]) {
            Some(marks) if bytes.len() == limit => read_marks(marks, plan),
            _ => {
                let begin = file.set_len(0).and_then(|()| file.set_len(limit as u64));
                begin.map_err(Error::io("write", &path))?;
                file.write_all_at(&header, 0).map_err(Error::io("write", &path))?;
                vec![0; plan.blobs().len()]
            }
        };
        Ok((Self { file, path }, marks))
    }

    /// Where the journal of an unfinished bundle stands.
    pub(crate) fn path_beside(part: &Path) -> PathBuf {
        let mut path = part.as_os_str().to_owned();
        path.push(".journal");
        path.into()
    }

    /// Notes that so many bytes of a blob are written, wherever it stands.
    pub(crate) fn mark(&self, blob: usize, written: u64) -> Result<(), Error> {
        let place = (HEADER + 8 * blob) as u64;
        self.file
            .write_all_at(&written.to_le_bytes(), place)
            .map_err(Error::io("write", &self.path))
    }
}

fn header(plan: &BundlePlan) -> [u8; HEADER] {
    let mut header = [b' '; HEADER];
    header[..16].copy_from_slice(b"compass-journal1");
    header[16..].copy_from_slice(plan.fingerprint().hex().as_bytes());
    header
}

fn read_marks(bytes: &[u8], plan: &BundlePlan) -> Vec<u64> {
    let marks = bytes.chunks_exact(8).zip(plan.blobs()).map(|(bytes, blob)| {
        let mark = bytes.try_into().map_or(0, u64::from_le_bytes);
        if mark <= blob.descriptor.size { mark } else { 0 }
    });
    marks.collect()
}
