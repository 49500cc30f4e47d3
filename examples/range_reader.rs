//! A reader of remote bundles: lists the images of a bundle through a custom [`BundleSource`] and counts the bytes
//! that it reads. A source of HTTP range requests has the same form.
//!
//! `cargo run -p compass-examples --example range_reader BUNDLE`

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use compass_bundle::{Bundle, BundleSource, Error};

#[derive(Debug)]
struct RangeReader {
    name: String,
    file: File,
    size: u64,
    bytes_read: AtomicU64,
}

#[async_trait]
impl BundleSource for RangeReader {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn size(&self) -> u64 {
        self.size
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        self.bytes_read.fetch_add(range.end - range.start, Ordering::Relaxed);
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
        let read = self.file.read_exact_at(&mut bytes, range.start);
        let failed = |source| Error::Io { action: "read", path: self.name.clone().into(), source };
        read.map_err(failed)?;
        Ok(bytes.into())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).ok_or("usage: range_reader BUNDLE")?;
    let file = File::open(&name)?;
    let size = file.metadata()?.len();
    let source = Arc::new(RangeReader { name, file, size, bytes_read: AtomicU64::new(0) });
    let bundle = Bundle::read(source.clone()).await?;
    let document = bundle.document();
    println!("{} {}", document.name, document.version);
    for image in bundle.images() {
        println!("{}", image.reference);
    }
    println!("{} of {size} bytes were read", source.bytes_read.load(Ordering::Relaxed));
    Ok(())
}
