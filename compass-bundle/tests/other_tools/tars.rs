//! Tar archives as many tools write them.

use serde_json::json;
use tokio_tar::{EntryType, Header};

use super::archives::{entry, file, linked, tar};
use super::judged::{assert_judged, judge};
use super::saved::{Image, Saved, app};

fn saved() -> Saved {
    Saved::default().docker(&Image::new(1), &json!([app(1).0]))
}

/// A package with more entries, before and behind an archive.
fn package(more: &[Vec<u8>]) -> Vec<u8> {
    tar(&[more, &[file("p/images.tar", &saved().tar())]].concat())
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [format!(" {key}=").as_bytes(), value, b"\n"].concat();
    let length = (1..1000).find(|length: &usize| length.to_string().len() + rest.len() == *length);
    [length.unwrap().to_string().as_bytes(), &rest].concat()
}

/// An extended header, as POSIX has it.
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
    let judged = judge(bytes).await.unwrap();
    assert_eq!(judged.problems, [""; 0]);
    judged.package.files().iter().map(|file| file.path.clone()).collect()
}

#[tokio::test]
async fn odd_entries_are_read_like_tar() {
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
        assert_judged(what, &package(&more), Ok(&[&name])).await;
        // The same in an archive of images.
        let inner = [more.concat(), saved().tar()].concat();
        assert_judged(what, &inner, Ok(&[&name])).await;
    }
}

#[tokio::test]
async fn global_names_and_sizes_are_refused() {
    for (key, value) in [("path", "p/all"), ("size", "1"), ("linkpath", "p/all")] {
        let records = record(key, value.as_bytes());
        let bytes = package(&[extended(EntryType::XGlobalHeader, &records), file("p/a", b"x")]);
        let expected = "a global header gives all entries one name or size";
        assert_judged(key, &bytes, Err(expected)).await;
    }
}

#[tokio::test]
async fn names_in_extended_headers_count() {
    let path = format!("p/{}a", "deep/".repeat(60));
    let records = record("path", path.as_bytes());
    let bytes = package(&[extended(EntryType::XHeader, &records), file("p/a", b"x")]);
    assert_eq!(files_of(&bytes).await, [path]);
}

#[tokio::test]
async fn odd_names_are_kept() {
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
async fn windows_separators_lead_to_layers() {
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
        assert_judged(written, &bytes, Ok(&[&name])).await;
    }
}

#[tokio::test]
async fn entries_that_no_file_is_are_problems() {
    let device = "it is a link or a device";
    for (what, more, expected) in [
        ("outside", vec![file("p/../../a", b"x")], "it leads outside"),
        ("control characters", vec![file("p/a\nb", b"x")], "a name with control characters"),
        ("a pipe", vec![entry(b"p/a", EntryType::Fifo, 0, b"")], device),
        ("a disk", vec![entry(b"p/a", EntryType::Block, 0, b"")], device),
        ("a link out", vec![linked(b"p/a", EntryType::Symlink, 0, b"", b"../../x")], device),
        ("a link to nothing", vec![linked(b"p/a", EntryType::Link, 0, b"", b"p/x")], device),
        ("two contents", vec![file("p/a", b"x"), file("p/a", b"y")], "it is there twice"),
        ("below a file", vec![file("p/a", b"x"), file("p/a/b", b"y")], "is below a file"),
        (
            "a directory too",
            vec![file("p/a", b"x"), entry(b"p/a/", EntryType::Directory, 0, b"")],
            "is there twice",
        ),
    ] {
        assert_judged(what, &package(&more), Err(expected)).await;
    }
}
