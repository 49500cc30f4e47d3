//! The blobs of a package in the order in which they stand in it.

use std::collections::{HashMap, HashSet};

use bytes::BytesMut;
use compass_registry::{ByteStream, Digest, Error};
use futures_util::{StreamExt as _, stream};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::peel::{Peeled, Reader, peel, reader_of};
use super::walk::Entries;
use super::{Package, Place};

/// Bytes of a blob that are handed out at once.
const READ: usize = 256 << 10;

/// Reads a package once, from its beginning to its end, and gives the blobs on the way. Each is to be
/// read before the next one is asked for.
pub(crate) struct BlobsInOrder {
    package: Entries,
    /// The image archive that is being read, and its path.
    archive: Option<(String, Entries)>,
    archives: HashSet<String>,
    blobs: HashMap<Place, Digest>,
}

impl BlobsInOrder {
    /// Begins at the beginning; nothing where the package is none any more.
    pub(crate) async fn of(package: &Package) -> std::io::Result<Option<Self>> {
        let Peeled::Tar(tar) = peel(reader_of(package.source())).await? else { return Ok(None) };
        let blobs = package.0.blobs.iter();
        let blobs: HashMap<_, _> = blobs.map(|(digest, place)| (place.clone(), *digest)).collect();
        let archives = blobs.keys().filter_map(|place| place.archive.clone()).collect();
        Ok(Some(Self { package: Entries::of(tar)?, archive: None, archives, blobs }))
    }

    pub(crate) async fn next(&mut self) -> std::io::Result<Option<(Digest, Reader)>> {
        loop {
            let (entry, archive) = match &mut self.archive {
                Some((path, archive)) => match archive.next().await? {
                    Some(entry) => (entry, Some(path.clone())),
                    None => {
                        self.archive = None;
                        continue;
                    }
                },
                None => match self.package.next().await? {
                    Some(entry) => (entry, None),
                    None => return Ok(None),
                },
            };
            if !entry.is_file {
                continue;
            }
            let is_archive = archive.is_none() && self.archives.contains(&entry.path);
            let place = Place { archive, entry: entry.path.clone() };
            if let Some(digest) = self.blobs.remove(&place) {
                return Ok(Some((digest, entry.into_reader())));
            }
            if is_archive && let Peeled::Tar(tar) = peel(entry.into_reader()).await? {
                self.archive = Some((place.entry, Entries::of(tar)?));
            }
        }
    }
}

/// What a reader brings; `what` names it in errors.
pub(crate) fn chunks_of(
    reader: impl AsyncRead + Send + Unpin + 'static,
    what: String,
) -> ByteStream {
    let chunks = stream::try_unfold((reader, what), |(mut reader, what)| async move {
        let mut chunk = BytesMut::with_capacity(READ);
        match reader.read_buf(&mut chunk).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some((chunk.freeze(), (reader, what)))),
            Err(error) => Err(Error::io(format!("cannot read {what}"), error)),
        }
    });
    chunks.boxed()
}
