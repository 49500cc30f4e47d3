//! Remote packages are read in small ranges.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sample;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use compass_bundle::document::BundleKind;
use compass_bundle::store::open_source;
use compass_bundle::{
    Bundle, BundleSource, LocalFile, Package, VerifyOptions, WriteOptions, compare, unpack, write,
};
use compass_registry::testing::random_bytes;
use compass_registry::{NoProgress, RetryPolicy};
use futures_util::TryStreamExt as _;
use sample::CountedFile;

/// Writes a bundle of three images with layers of this size.
async fn bundle(directory: &std::path::Path, seed: u64, bytes: usize) -> Arc<CountedFile> {
    let images: Vec<_> = (0..3).map(|number| vec![random_bytes(seed + number, bytes)]).collect();
    let (storage, references) = sample::store(&images).await;
    let plan = sample::plan(&storage, &references, BundleKind::Plugin, false).await;
    let path = directory.join(seed.to_string());
    std::fs::create_dir(&path).unwrap();
    let source = Arc::new(storage);
    let written = write(&plan, source, &path, &WriteOptions::default()).await.unwrap();
    let file = LocalFile::open(&written.path).unwrap();
    Arc::new(CountedFile { file, bytes: AtomicU64::new(0) })
}

#[tokio::test(flavor = "multi_thread")]
async fn inspect_remote_bundle_reads_kilobytes() {
    let directory = tempfile::tempdir().unwrap();
    let file = bundle(directory.path(), 1, 20_000_000).await;
    let source: Arc<dyn BundleSource> = file.clone();
    let opened = Bundle::read(source).await.unwrap();
    assert_eq!(opened.images().len(), 3);
    opened.file("gpu.yaml").await.unwrap();
    let read = file.bytes.load(Ordering::Relaxed);
    assert!(read <= 256 << 10, "{read} bytes");

    let quick = VerifyOptions::default().quick(true);
    assert!(opened.verify(&quick).await.unwrap().is_ok());
    let other = bundle(directory.path(), 2, 1_000_000).await;
    let other_bundle = Bundle::read(other.clone()).await.unwrap();
    let compared = compare(&Package::Bundle(opened), &Package::Bundle(other_bundle)).await.unwrap();
    assert_eq!(compared.images.len(), 3);
    let read = file.bytes.load(Ordering::Relaxed);
    assert!(read <= 1 << 20, "{read} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_and_unpack_read_remote_file_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = bundle(directory.path(), 1, 300_000).await;
    let opened = Bundle::read(file.clone()).await.unwrap();
    let before = file.bytes.load(Ordering::Relaxed);
    let verified = opened.verify(&VerifyOptions::default()).await.unwrap();
    assert!(verified.is_ok() && verified.digest.is_some());
    assert_eq!(file.bytes.load(Ordering::Relaxed) - before, opened.size());

    let before = file.bytes.load(Ordering::Relaxed);
    let target = directory.path().join("unpacked");
    let unpacked = unpack(file.clone(), &target, &NoProgress).await.unwrap();
    assert_eq!(file.bytes.load(Ordering::Relaxed) - before, opened.size());
    assert_eq!(unpacked.paths, [target.join("compass-plugins-gpu-v0.1.0")]);
    assert_eq!(unpacked.files, 1 + 1 + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_blob_reads_only_its_member() {
    let directory = tempfile::tempdir().unwrap();
    let file = bundle(directory.path(), 1, 1_000_000).await;
    let package = Package::read(file.clone()).await.unwrap();
    let blobs = package.blobs().unwrap();
    let layer = blobs.iter().find(|blob| blob.descriptor.size == 1_000_000).unwrap();
    let before = file.bytes.load(Ordering::Relaxed);
    let content = package.open_blob(&layer.descriptor.digest).unwrap();
    let chunks: Vec<_> = content.try_collect().await.unwrap();
    assert_eq!(chunks.iter().map(bytes::Bytes::len).sum::<usize>(), 1_000_000);
    let read = file.bytes.load(Ordering::Relaxed) - before;
    assert!(read <= 1_010_000, "{read} bytes");
}

/// Starts a web server with these responses, one per connection. Returns its address, and counts
/// requests.
fn web(answers: &'static [&'static str]) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/bundle.tar.gz", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for answer in answers {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            let rest = "content-length: 1\r\nconnection: close\r\n\r\nx";
            socket.write_all(format!("HTTP/1.1 {answer}\r\n{rest}").as_bytes()).unwrap();
        }
    });
    (address, asked)
}

#[tokio::test]
async fn http_read_retries_only_temporary_errors() {
    let part = "206 Partial Content\r\ncontent-range: bytes 0-0/5000";
    let opened = async |answers| {
        let (address, asked) = web(answers);
        let opened = open_source(&address, &RetryPolicy::default()).await.map(|file| file.size());
        (opened.map_err(|error| format!("{error:?}")), asked.load(Ordering::Relaxed))
    };
    let busy: &[&str] = Vec::leak(vec!["503 Busy", "429 Slower", part]);
    assert_eq!(opened(busy).await, (Ok(5000), 3));
    for (answer, about) in [("404 Not Found", "404"), ("200 OK", "does not support range requests")]
    {
        let answers: &[&str] = Vec::leak(vec![answer, part]);
        let (refused, asked) = opened(answers).await;
        assert!(refused.as_ref().is_err_and(|error| error.contains(about)), "{refused:?}");
        assert_eq!(asked, 1, "{answer}");
    }
}

/// Starts a web server whose responses break after 300 bytes. Returns its address, and counts
/// requests.
fn breaking_web(content: Vec<u8>) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/bundle.tar.gz", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (mut socket, mut request) = (socket.unwrap(), [0; 4096]);
            let read = socket.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
            let range = request.lines().find_map(|line| line.strip_prefix("range: bytes="));
            let (start, end) = range.unwrap().split_once('-').unwrap();
            let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
            count.fetch_add(1, Ordering::Relaxed);
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {start}-{end}/{}\r\n\
                 content-length: {}\r\nconnection: close\r\n\r\n",
                content.len(),
                end + 1 - start
            );
            socket.write_all(head.as_bytes()).unwrap();
            socket.write_all(&content[start..(end + 1).min(start + 300)]).unwrap();
        }
    });
    (address, asked)
}

#[tokio::test]
async fn http_stream_continues_after_break() {
    let content: Vec<u8> = (0..2000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let (address, asked) = breaking_web(content.clone());
    let file = open_source(&address, &RetryPolicy::default()).await.unwrap();
    let opened = asked.load(Ordering::Relaxed);
    let chunks: Vec<_> = file.read_stream(100..1100).try_collect().await.unwrap();
    assert_eq!(chunks.concat(), content[100..1100]);
    assert_eq!(asked.load(Ordering::Relaxed) - opened, 4);
}
