//! A foreign package with the gzip framing of bundles is not a bundle.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio_tar::{EntryType, Header};

use super::archives::{file, tar};
use super::docker_save::{Image, Saved, app};
use super::outcome::{assert_outcome, evaluate};

/// Stored blocks with the gzip header of bundles.
fn stored(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(content).unwrap();
    let mut bytes = encoder.finish().unwrap();
    bytes[..10].copy_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
    bytes
}

fn package() -> Vec<u8> {
    let saved = Saved::default().docker(&Image::new(1), &json!([app(1).0]));
    tar(&[file("p/app.yaml", b"a: b\n"), file("p/images.tar", &saved.tar())])
}

#[tokio::test]
async fn package_framed_as_bundle_is_read() {
    let (bytes, name) = (package(), app(1).0);
    assert_outcome("one member", &stored(&bytes), Ok(&[&name])).await;
    for middle in [1, 512, bytes.len() / 2, bytes.len() - 1] {
        let (one, other) = bytes.split_at(middle);
        let members = [stored(one), stored(other)].concat();
        assert_outcome(&format!("{middle} bytes first"), &members, Ok(&[&name])).await;
    }
}

#[tokio::test]
async fn damaged_package_framed_as_bundle_is_error() {
    let whole = stored(&package());
    let mut flipped = whole.clone();
    let at = flipped.len() / 2;
    flipped[at] ^= 1;
    let cut = &whole[..whole.len() - 20];
    for bytes in [&flipped[..], cut] {
        assert!(evaluate(bytes).await.is_err(), "the checksum of the gzip member is wrong");
    }
}

#[tokio::test]
async fn extended_header_first_is_no_bundle() {
    let record = b"21 path=p/short.yaml\n";
    let mut header = Header::new_ustar();
    header.set_path("@PaxHeader").unwrap();
    header.set_entry_type(EntryType::XHeader);
    header.set_size(record.len() as u64);
    header.set_cksum();
    let mut record = record.to_vec();
    record.resize(512, 0);
    let whole = [header.as_bytes().to_vec(), record, file("short", b"a: b\n"), package()].concat();
    assert_eq!(evaluate(&stored(&whole)).await.map(|outcome| outcome.problems), Ok(vec![]));
    let cut = stored(&whole[..whole.len() - 3000]);
    let reason = evaluate(&cut).await.err().unwrap();
    assert!(reason.contains("unexpected EOF"), "{reason}");
}

#[tokio::test]
async fn document_without_bundle_is_problem() {
    let document = br#"{"compassBundle":1}"#;
    let bytes = [file("p/bundle.json", document), package()].concat();
    let expected = "it describes a bundle, but the file does not match that bundle byte for byte";
    for bytes in [bytes.clone(), stored(&bytes)] {
        assert_outcome("a document", &bytes, Err(expected)).await;
    }
}
