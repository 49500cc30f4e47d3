//! `compass serve --writable`: the data after a kill, a full disk, and the exit.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod machine;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use compass_registry::client::{Client, ClientOptions};
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::{SampleImage, read_image};
use compass_registry::{Destination, Digest, Error, ImageRef, Repository, RetryPolicy, Tag, copy};
use futures_util::future::join_all;

use machine::SmallDisk;

/// Starts the server; returns the process and its host.
fn serve(directory: &Path) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_compass"))
        .args(["serve", "--listen", "127.0.0.1:0", "--writable"])
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let host = line.split(' ').next().unwrap().to_owned();
    (child, host)
}

async fn push(client: &Client, number: u64) -> Result<(), Error> {
    let storage = MemoryStorage::default();
    let (name, tag): (Repository, Tag) =
        (format!("team/app-{number}").parse().unwrap(), "v1".parse().unwrap());
    SampleImage::new(number, &[700_000, 1000]).store(&storage, &name, &tag).await?;
    let (from, to) = (ImageRef::new(name.clone(), tag.clone()), Destination::new(name, tag));
    copy(Arc::new(storage), &from, Arc::new(client.clone()), &to).await?;
    Ok(())
}

/// Asserts that every blob matches its digest; returns their number.
fn verified_blobs(directory: &Path) -> usize {
    let blobs = directory.join("blobs/sha256");
    let files = std::fs::read_dir(blobs).map(|entries| entries.map(Result::unwrap).collect());
    let files: Vec<std::fs::DirEntry> = files.unwrap_or_default();
    for file in &files {
        let content = std::fs::read(file.path()).unwrap();
        let named = file.file_name().into_string().unwrap();
        assert_eq!(Digest::of(&content).hex(), named);
    }
    files.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_killed_has_no_wrong_blobs() {
    let directory = tempfile::tempdir().unwrap();
    let retry = RetryPolicy::default().max_attempts(1).connect_retry(Duration::ZERO);
    // A later kill leaves more committed blobs.
    for (round, millis) in [30, 120, 400].into_iter().enumerate() {
        let (mut server, host) = serve(directory.path());
        let client = Client::new(&host, ClientOptions::default().retry(retry)).unwrap();
        let first = 100 * round as u64;
        let pushes = join_all((first..first + 100).map(|number| push(&client, number)));
        let killed = async {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            server.kill().unwrap();
            server.wait().unwrap();
        };
        let (results, ()) = tokio::join!(pushes, killed);
        verified_blobs(directory.path());

        // After a restart, every acknowledged blob is present and complete.
        let (mut server, host) = serve(directory.path());
        let client = Client::new(&host, ClientOptions::default()).unwrap();
        for (number, result) in (first..).zip(results) {
            let name: Repository = format!("team/app-{number}").parse().unwrap();
            let tag: Tag = "v1".parse().unwrap();
            match read_image(Arc::new(client.clone()), &ImageRef::new(name, tag)).await {
                Ok(_) => {}
                Err(error) => assert!(error.is_not_found() && result.is_err(), "{error}"),
            }
        }
        let unfinished = std::fs::read_dir(directory.path().join("uploads"));
        assert_eq!(unfinished.map_or(0, Iterator::count), 0, "nothing unfinished is kept");
        push(&client, first).await.unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }
    assert!(verified_blobs(directory.path()) > 0);
}

#[test]
fn serve_used_directory_is_error() {
    let directory = tempfile::tempdir().unwrap();
    let (mut first, _) = serve(directory.path());
    let second = Command::new(env!("CARGO_BIN_EXE_compass"))
        .args(["serve", "--listen", "127.0.0.1:0", "--writable"])
        .arg(directory.path())
        .output()
        .unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(second.status.code(), Some(3));
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(error.contains("another process is serving this directory"), "{error}");
}

#[test]
fn serve_terminated_exits_0() {
    for signal in ["INT", "TERM"] {
        let directory = tempfile::tempdir().unwrap();
        let mut server = Command::new(env!("CARGO_BIN_EXE_compass"))
            .args(["serve", "--listen", "127.0.0.1:0", "--format", "json", "--writable"])
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(server.stdout.take().unwrap());
        let mut printed = String::new();
        out.read_line(&mut printed).unwrap();
        let killed = Command::new("kill").args(["-s", signal, &server.id().to_string()]).status();
        assert!(killed.unwrap().success());
        assert_eq!(server.wait().unwrap().code(), Some(0));
        out.read_to_string(&mut printed).unwrap();
        let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert!(printed["host"].is_string(), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_full_disk_is_temporary() {
    let small = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(small.path(), "2m") else { return };
    let (mut server, host) = serve(&small.path().join("registry"));
    let client = Client::new(&host, ClientOptions::default()).unwrap();
    let large = SampleImage::new(1, &[12_000_000]);
    let (name, tag): (Repository, Tag) = ("team/large".parse().unwrap(), "v1".parse().unwrap());
    let storage = MemoryStorage::default();
    large.store(&storage, &name, &tag).await.unwrap();
    let (from, to) = (ImageRef::new(name.clone(), tag.clone()), Destination::new(name, tag));
    let pushed = copy(Arc::new(storage), &from, Arc::new(client.clone()), &to).await;
    let afterwards = push(&client, 7).await;
    server.kill().unwrap();
    server.wait().unwrap();
    drop(disk);
    let error = pushed.unwrap_err();
    let mut chain = vec![error.to_string()];
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        chain.push(error.to_string());
        source = error.source();
    }
    assert!(chain.join(": ").contains("the disk is full"), "{chain:?}");
    assert!(error.hint().unwrap().to_string().contains("free some space"));
    afterwards.unwrap();
}
