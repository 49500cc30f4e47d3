//! Tar archives of several tools.

use serde_json::json;
use tokio_tar::{EntryType, Header};

use super::archives::{entry, file, linked, tar};
use super::docker_save::{Image, Saved, app};
use super::outcome::{assert_outcome, evaluate};

fn saved() -> Saved {
    Saved::default().docker(&Image::new(1), &json!([app(1).0]))
}

/// A package with additional entries before and after an archive.
fn package(more: &[Vec<u8>]) -> Vec<u8> {
    tar(&[more, &[file("p/images.tar", &saved().tar())]].concat())
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [format!(" {key}=").as_bytes(), value, b"\n"].concat();
    let length = (1..1000).find(|length: &usize| length.to_string().len() + rest.len() == *length);
    [length.unwrap().to_string().as_bytes(), &rest].concat()
}

/// An extended header in the POSIX format.
fn extended(kind: EntryType, records: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.set_path("pax").unwrap();
    header.set_entry_type(kind);
    header.set_size(records.len() as u64);
    header.set_cksum();
    let mut bytes = [header.as_bytes(), records].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

async fn files_of(bytes: &[u8]) -> Vec<String> {
    let outcome = evaluate(bytes).await.unwrap();
    assert_eq!(outcome.problems, [""; 0]);
    outcome.package.files().iter().map(|file| file.path.clone()).collect()
}

#[tokio::test]
async fn unusual_entries_are_read_as_in_tar() {
    let name = app(1).0;
    let comment = record("comment", b"5ab0c3d1");
    let label = entry(b"images of may", EntryType::new(b'V'), 0, b"");
    for (what, more) in [
        ("a global header", vec![extended(EntryType::XGlobalHeader, &comment)]),
        ("a volume label", vec![label]),
        ("the top directory", vec![entry(b"./", EntryType::Directory, 0, b"")]),
        ("an unknown record", vec![extended(EntryType::XHeader, &comment), file("p/a", b"x")]),
        ("contiguous", vec![entry(b"p/a", EntryType::Continuous, 1, b"x")]),
        ("old files", vec![entry(b"p/a", EntryType::new(0), 1, b"x")]),
        ("a hard link", vec![file("p/a", b"x"), linked(b"p/b", EntryType::Link, 0, b"", b"p/a")]),
        ("a link", vec![file("p/a", b"x"), linked(b"p/b", EntryType::Symlink, 0, b"", b"a")]),
        ("the same twice", vec![file("p/a", b"x"), file("p/a", b"x")]),
    ] {
        assert_outcome(what, &package(&more), Ok(&[&name])).await;
        // The same entries in an image archive.
        let inner = [more.concat(), saved().tar()].concat();
        assert_outcome(what, &inner, Ok(&[&name])).await;
    }
}

#[tokio::test]
async fn global_name_or_size_is_error() {
    for (key, value) in [("path", "p/all"), ("size", "1"), ("linkpath", "p/all")] {
        let records = record(key, value.as_bytes());
        let bytes = package(&[extended(EntryType::XGlobalHeader, &records), file("p/a", b"x")]);
        let expected = "a global header sets one name or size for all entries";
        assert_outcome(key, &bytes, Err(expected)).await;
    }
}

#[tokio::test]
async fn extended_header_name_is_used() {
    let path = format!("p/{}a", "deep/".repeat(60));
    let records = record("path", path.as_bytes());
    let bytes = package(&[extended(EntryType::XHeader, &records), file("p/a", b"x")]);
    assert_eq!(files_of(&bytes).await, [path]);
}

#[tokio::test]
async fn unusual_names_are_kept() {
    for (path, expected) in [
        (&b"/p/a"[..], "p/a"),
        (b"./p/./a", "p/a"),
        (b"p//a", "p/a"),
        (b"p/a\\b", "p/a\\b"),
        (b"p/a b", "p/a b"),
        (b"p/\xe9\x95\x9c", "p/镜"),
        (b"p/\xd6\xd0.txt", "p/\\xd6\\xd0.txt"),
    ] {
        let bytes = package(&[entry(path, EntryType::Regular, 1, b"x")]);
        assert_eq!(files_of(&bytes).await, [expected]);
    }
}

#[tokio::test]
async fn windows_separator_is_resolved() {
    let image = Image::new(1);
    let name = app(1).0;
    for (written, stored) in
        [("0a\\layer.tar", "0a/layer.tar"), ("0a/layer.tar", "0a\\layer.tar"), ("a\\b", "a\\b")]
    {
        let image = Image::of(1, &image.layers[..1]);
        let lists = json!([{"Config": "c.json", "RepoTags": [name], "Layers": [written]}]);
        let bytes = tar(&[
            file(stored, &image.layers[0]),
            file("c.json", &image.config),
            file("manifest.json", lists.to_string().as_bytes()),
        ]);
        assert_outcome(written, &bytes, Ok(&[&name])).await;
    }
}

#[tokio::test]
async fn entry_other_than_file_is_problem() {
    let device = "it is a link or a device";
    for (what, more, expected) in [
        ("outside", vec![file("p/../../a", b"x")], "it points outside"),
        ("control characters", vec![file("p/a\nb", b"x")], "a name with control characters"),
        ("a pipe", vec![entry(b"p/a", EntryType::Fifo, 0, b"")], device),
        ("a disk", vec![entry(b"p/a", EntryType::Block, 0, b"")], device),
        ("a link out", vec![linked(b"p/a", EntryType::Symlink, 0, b"", b"../../x")], device),
        ("a link to nothing", vec![linked(b"p/a", EntryType::Link, 0, b"", b"p/x")], device),
        ("two contents", vec![file("p/a", b"x"), file("p/a", b"y")], "it exists twice"),
        ("below a file", vec![file("p/a", b"x"), file("p/a/b", b"y")], "is below a file"),
        (
            "a directory too",
            vec![file("p/a", b"x"), entry(b"p/a/", EntryType::Directory, 0, b"")],
            "exists twice",
        ),
    ] {
        assert_outcome(what, &package(&more), Err(expected)).await;
    }
}
