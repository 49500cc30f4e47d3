//! `compass serve --writable`: what a site finds after its registry was killed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use compass_registry::client::{Client, ClientOptions};
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::{SampleImage, read_whole};
use compass_registry::{CopyOptions, Digest, Error, Locator, Repository, RetryPolicy, Tag, copy};
use futures_util::future::join_all;

/// Gives the process, and the host it serves.
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
    let locator = Locator::from(tag.clone());
    let options = CopyOptions::default();
    copy(Arc::new(storage), (&name, &locator), client, (&name, Some(&tag)), &options).await?;
    Ok(())
}

/// Every blob has the content that its name promises; gives how many there are.
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
async fn killed_during_a_hundred_uploads_it_has_no_blob_that_is_not_what_it_is_called() {
    let directory = tempfile::tempdir().unwrap();
    let retry = RetryPolicy { tries: 1, ..RetryPolicy::default() };
    // The later it is killed, the more has been committed.
    for (round, millis) in [30, 120, 400].into_iter().enumerate() {
        let (mut server, host) = serve(directory.path());
        let client =
            Client::new(&host, ClientOptions { retry, ..ClientOptions::default() }).unwrap();
        let first = 100 * round as u64;
        let pushes = join_all((first..first + 100).map(|number| push(&client, number)));
        let killed = async {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            server.kill().unwrap();
            server.wait().unwrap();
        };
        let (results, ()) = tokio::join!(pushes, killed);
        verified_blobs(directory.path());

        // It starts again, and what it said it has is there and whole.
        let (mut server, host) = serve(directory.path());
        let client = Client::new(&host, ClientOptions::default()).unwrap();
        for (number, result) in (first..).zip(results) {
            let name: Repository = format!("team/app-{number}").parse().unwrap();
            let tag: Tag = "v1".parse().unwrap();
            match read_whole(&client, &name, &tag.into()).await {
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
fn two_cannot_serve_one_directory() {
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
    assert!(error.contains("another process serves this directory"), "{error}");
}
