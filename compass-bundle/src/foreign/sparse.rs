//! Sparse files of GNU tar in POSIX archives (GNU tar manual, "Storing Sparse Files"). The tar
//! library reads those in GNU archives.

use std::collections::VecDeque;
use std::io::{Error, Result};

use bytes::BytesMut;
use futures_util::stream;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::StreamReader;

use super::reader::Reader;

/// Extended headers of a sparse file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SparseHeaders {
    size: Option<u64>,
    /// Alternating offsets and lengths of data.
    map: Vec<u64>,
    /// The map precedes the data (version 1.0).
    is_map_in_data: bool,
    pub(super) name: Option<Vec<u8>>,
}

/// Maximum size in bytes of a map that precedes the data.
const MAX_MAP: usize = 2 << 20;

fn invalid() -> Error {
    Error::other("it is a sparse file with an invalid map")
}

fn number(text: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(text).map_err(|_| invalid())?;
    text.trim().parse().map_err(|_| invalid())
}

impl SparseHeaders {
    /// Applies a record of an extended header.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key {
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.size = Some(number(value)?),
            b"GNU.sparse.major" => self.is_map_in_data = number(value)? == 1,
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.map.push(number(value)?),
            b"GNU.sparse.map" => {
                let numbers = value.split(|byte| *byte == b',').filter(|text| !text.is_empty());
                self.map = numbers.map(number).collect::<Result<_>>()?;
            }
            b"GNU.sparse.name" => self.name = Some(value.to_vec()),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn is_sparse(&self) -> bool {
        self.size.is_some()
    }

    /// Expands the file; returns a reader, and the number of bytes in holes.
    pub(super) async fn expand(mut self, mut data: Reader) -> Result<(Reader, u64)> {
        if self.is_map_in_data {
            self.map = read_map(&mut data).await?;
        }
        let (mut parts, mut position, mut holes) = (VecDeque::new(), 0_u64, 0_u64);
        for pair in self.map.chunks(2) {
            let &[offset, length] = pair else { return Err(invalid()) };
            let hole = offset.checked_sub(position).ok_or_else(invalid)?;
            parts.extend([
                Part { is_hole: true, size: hole },
                Part { is_hole: false, size: length },
            ]);
            position = offset.checked_add(length).ok_or_else(invalid)?;
            holes = holes.checked_add(hole).ok_or_else(invalid)?;
        }
        let last = self.size.and_then(|size| size.checked_sub(position)).ok_or_else(invalid)?;
        parts.push_back(Part { is_hole: true, size: last });
        Ok((expanded(data, parts), holes.checked_add(last).ok_or_else(invalid)?))
    }
}

/// Parses decimal numbers, one a line: the number of data ranges, then offset and length of each.
async fn read_map(data: &mut Reader) -> Result<Vec<u64>> {
    let (mut text, mut block, mut numbers) = (Vec::new(), [0; 512], Vec::new());
    loop {
        data.read_exact(&mut block).await.map_err(|_| invalid())?;
        text.extend_from_slice(&block);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            numbers.push(number(&text[..end])?);
            text.drain(..=end);
            let count = numbers.first().and_then(|count: &u64| count.checked_mul(2));
            if count.ok_or_else(invalid)? == numbers.len() as u64 - 1 {
                // The rest of the block is padding.
                numbers.remove(0);
                return Ok(numbers);
            }
        }
        if numbers.len() * 2 > MAX_MAP || text.len() > 64 {
            return Err(invalid());
        }
    }
}

/// A run of bytes of an expanded file.
struct Part {
    is_hole: bool,
    size: u64,
}

/// Bytes per read of an expanded file.
const CHUNK: u64 = 64 << 10;

/// Returns the parts in order. Zeros fill the holes, and the rest is read from `data`.
fn expanded(data: Reader, parts: VecDeque<Part>) -> Reader {
    let chunks = stream::try_unfold((data, parts), |(mut data, mut parts)| async move {
        let Some(mut part) = parts.pop_front() else { return Ok::<_, Error>(None) };
        let size = part.size.min(CHUNK);
        let mut chunk = BytesMut::zeroed(usize::try_from(size).unwrap_or_default());
        if !part.is_hole {
            data.read_exact(&mut chunk).await?;
        }
        part.size -= size;
        if part.size > 0 {
            parts.push_front(part);
        }
        Ok(Some((chunk, (data, parts))))
    });
    Box::pin(StreamReader::new(Box::pin(chunks)))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn expand(records: &[(&str, &str)], data: &[u8]) -> Result<(Vec<u8>, u64)> {
        let mut headers = SparseHeaders::default();
        for (key, value) in records {
            headers.take(format!("GNU.sparse.{key}").as_bytes(), value.as_bytes())?;
        }
        assert!(headers.is_sparse());
        let (mut reader, holes) =
            headers.expand(Box::pin(std::io::Cursor::new(data.to_vec()))).await?;
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await?;
        Ok((bytes, holes))
    }

    #[tokio::test]
    async fn sparse_file_of_each_version_expands() {
        let whole = b"\0\0ab\0\0\0c\0".to_vec();
        let mut with_map = b"2\n2\n2\n7\n1\n".to_vec();
        with_map.resize(512, 0);
        with_map.extend_from_slice(b"abc");
        for (records, data) in [
            (
                &[
                    ("size", "9"),
                    ("numblocks", "2"),
                    ("offset", "2"),
                    ("numbytes", "2"),
                    ("offset", "7"),
                    ("numbytes", "1"),
                ][..],
                &b"abc"[..],
            ),
            (&[("size", "9"), ("map", "2,2,7,1")], b"abc"),
            (&[("major", "1"), ("minor", "0"), ("realsize", "9")], &with_map),
        ] {
            assert_eq!(expand(records, data).await.unwrap(), (whole.clone(), 6), "{records:?}");
        }
    }

    #[tokio::test]
    async fn sparse_map_inconsistent_is_error() {
        for (records, data) in [
            (&[("size", "3"), ("map", "2,2")][..], &b"ab"[..]),
            (&[("size", "9"), ("map", "4,2,3,1")], b"abc"),
            (&[("size", "9"), ("map", "4")], b"abc"),
            (&[("size", "9"), ("map", "18446744073709551615,2")], b"abc"),
            (&[("size", "9"), ("map", "2,4")], b"ab"),
            (&[("major", "1"), ("realsize", "9")], b"2\n2\n"),
        ] {
            assert!(expand(records, data).await.is_err(), "{records:?}");
        }
    }
}
