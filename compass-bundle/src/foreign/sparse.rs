//! Sparse files of GNU tar in POSIX archives (GNU tar manual, "Storing Sparse Files"). The tar
//! library reads those in GNU archives.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

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
            parts.extend([Part::Hole(hole), Part::Data(length)]);
            position = offset.checked_add(length).ok_or_else(invalid)?;
            holes = holes.checked_add(hole).ok_or_else(invalid)?;
        }
        let last = self.size.and_then(|size| size.checked_sub(position)).ok_or_else(invalid)?;
        parts.push_back(Part::Hole(last));
        Ok((Box::pin(Expanded { data, parts }), holes.checked_add(last).ok_or_else(invalid)?))
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

enum Part {
    Hole(u64),
    Data(u64),
}

struct Expanded {
    data: Reader,
    parts: VecDeque<Part>,
}

impl AsyncRead for Expanded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let this = &mut *self;
        while let Some(part) = this.parts.front_mut() {
            let left = match part {
                Part::Hole(left) | Part::Data(left) => left,
            };
            let count = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.remaining());
            if *left == 0 {
                this.parts.pop_front();
                continue;
            }
            if let Part::Hole(left) = part {
                buffer.initialize_unfilled_to(count).fill(0);
                buffer.advance(count);
                *left -= count as u64;
                return Poll::Ready(Ok(()));
            }
            let mut limited = ReadBuf::new(buffer.initialize_unfilled_to(count));
            ready!(this.data.as_mut().poll_read(cx, &mut limited))?;
            let read = limited.filled().len();
            if read == 0 && count > 0 {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
            buffer.advance(read);
            if let Some(Part::Data(left)) = this.parts.front_mut() {
                *left -= read as u64;
            }
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn expanded(records: &[(&str, &str)], data: &[u8]) -> Result<(Vec<u8>, u64)> {
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
            assert_eq!(expanded(records, data).await.unwrap(), (whole.clone(), 6), "{records:?}");
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
            assert!(expanded(records, data).await.is_err(), "{records:?}");
        }
    }
}
