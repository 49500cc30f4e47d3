//! The progress of each blob of an unfinished bundle (bundle format, "Beside a bundle").
//!
//! A later run resumes from it.
//!
//! A checkpoint is only a hint: a resumed run reads the written bytes again and compares their
//! digest.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::part_file::open_own;
use crate::Error;
use crate::plan::BundlePlan;

const HEADER: usize = 80;

/// How many bytes of a blob are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checkpoint {
    pub(super) blob: usize,
    pub(super) written: u64,
}

/// A file with one number for each blob: how many of its bytes are written.
#[derive(Debug)]
pub(super) struct CheckpointFile {
    file: File,
    path: PathBuf,
}

impl CheckpointFile {
    /// Opens the checkpoints of an unfinished bundle, or creates them. Returns the written bytes of
    /// all blobs; they are 0 if the file belongs to another plan.
    pub(super) fn open(part: &Path, plan: &BundlePlan) -> Result<(Self, Vec<u64>), Error> {
        let path = Self::path_beside(part);
        let mut file = open_own(&path)?;
        let header = header(plan);
        let limit = HEADER + 8 * plan.blobs().len();
        let mut bytes = Vec::new();
        let read = (&mut file).take(limit as u64 + 1).read_to_end(&mut bytes);
        read.map_err(Error::io("read", &path))?;
        let written = match bytes.strip_prefix(&header[..]) {
            Some(numbers) if bytes.len() == limit => parse(numbers, plan),
            _ => {
                let begin = file.set_len(0).and_then(|()| file.set_len(limit as u64));
                begin.map_err(Error::io("write", &path))?;
                file.write_all_at(&header, 0).map_err(Error::io("write", &path))?;
                vec![0; plan.blobs().len()]
            }
        };
        Ok((Self { file, path }, written))
    }

    /// The path of the checkpoints of an unfinished bundle.
    pub(super) fn path_beside(part: &Path) -> PathBuf {
        let mut path = part.as_os_str().to_owned();
        path.push(".journal");
        path.into()
    }

    /// Records how many bytes of a blob are written.
    pub(super) fn record(&self, Checkpoint { blob, written }: Checkpoint) -> Result<(), Error> {
        let offset = (HEADER + 8 * blob) as u64;
        self.file
            .write_all_at(&written.to_le_bytes(), offset)
            .map_err(Error::io("write", &self.path))
    }
}

fn header(plan: &BundlePlan) -> [u8; HEADER] {
    let mut header = [b' '; HEADER];
    header[..16].copy_from_slice(b"compass-journal1");
    header[16..].copy_from_slice(plan.digest().hex().as_bytes());
    header
}

fn parse(bytes: &[u8], plan: &BundlePlan) -> Vec<u64> {
    let numbers = bytes.chunks_exact(8).zip(plan.blobs()).map(|(bytes, blob)| {
        let written = bytes.try_into().map_or(0, u64::from_le_bytes);
        if written <= blob.descriptor.size { written } else { 0 }
    });
    numbers.collect()
}
