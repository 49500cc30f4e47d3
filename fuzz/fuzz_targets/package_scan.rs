//! Reads bytes as a foreign package, and as an image archive in one.
//! Reads all images that it finds, and unpacks the package.
#![no_main]

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use compass_bundle::{BundleSource, Error, ForeignPackage, unpack};
use compass_registry::{ImageSource as _, NoProgress, TagOrDigest};
use futures_util::StreamExt as _;
use libfuzzer_sys::fuzz_target;

#[derive(Debug)]
struct Memory(Bytes);

#[async_trait]
impl BundleSource for Memory {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        Ok(self.0.slice(range.start as usize..range.end as usize))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        read(Bytes::copy_from_slice(bytes)).await;
        read(tar_archive("stem/a-image.tar.gz", bytes)).await;
    });
});

/// Creates a tar archive with one file.
fn tar_archive(name: &str, content: &[u8]) -> Bytes {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend_from_slice(content);
    header.resize(header.len().next_multiple_of(512) + 1024, 0);
    header.into()
}

async fn read(bytes: Bytes) {
    let source = Arc::new(Memory(bytes));
    match ForeignPackage::read(source.clone()).await {
        Ok(package) => read_images(&package).await,
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let directory = tempfile::Builder::new().tempdir_in("/dev/shm").expect("a directory");
    let target = directory.path().join("target");
    std::fs::create_dir(&target).expect("a directory");
    let unpacked = unpack(source, &target, &NoProgress).await;
    let beside = std::fs::read_dir(directory.path()).expect("a directory").count();
    assert_eq!(beside, 1, "files outside the target");
    let left = std::fs::read_dir(&target).expect("a directory").count();
    assert_eq!(left, unpacked.map_or(0, |unpacked| unpacked.paths.len()));
}

async fn read_images(package: &ForeignPackage) {
    for image in package.images().iter().take(4) {
        let repository = image.reference.repository();
        let root = TagOrDigest::Digest(image.root.digest());
        assert!(package.manifest(repository, &root).await.is_ok());
        let Ok(manifest) = image.root.parse() else { continue };
        for blob in manifest.distributable_blobs().take(8) {
            let Ok(mut chunks) = package.blob(repository, blob, 0..blob.size).await else {
                continue;
            };
            let mut size = 0;
            while let Some(Ok(chunk)) = chunks.next().await {
                size += chunk.len() as u64;
            }
            assert!(size <= blob.size);
        }
    }
}
