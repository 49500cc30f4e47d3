//! Zeros after the end of archives and compressed files.

use std::io::Error;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Maximum number of zeros after an end. `tar` writes far fewer; a gzip bomb could contain endless
/// zeros.
const MAX_PADDING: u64 = 64 << 20;

/// Counts zeros.
#[derive(Debug, Default)]
pub(super) struct Padding(u64);

impl Padding {
    pub(super) fn is_none(&self) -> bool {
        self.0 == 0
    }

    pub(super) fn take(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(Error::other("other data follows its end"));
        }
        self.0 += bytes.len() as u64;
        if self.0 > MAX_PADDING {
            return Err(Error::other("too many zeros follow its end"));
        }
        Ok(())
    }
}

/// Checks that only zeros follow. Reads to the end of the compressed file, because the decoders
/// verify checksums there.
pub(super) async fn require_end(rest: &mut (impl AsyncRead + Unpin)) -> std::io::Result<()> {
    let mut padding = Padding::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = rest.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        padding.take(&buffer[..read])?;
    }
}
