//! A package is not taken for a bundle by its gzip.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::archives::{file, tar};
use super::judged::{assert_judged, judge};
use super::saved::{Image, Saved, app};

/// Stored blocks, with the header that bundles have.
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
async fn gzip_like_bundles_is_read() {
    let (bytes, name) = (package(), app(1).0);
    assert_judged("one member", &stored(&bytes), Ok(&[&name])).await;
    for middle in [1, 512, bytes.len() / 2, bytes.len() - 1] {
        let (one, other) = bytes.split_at(middle);
        let members = [stored(one), stored(other)].concat();
        assert_judged(&format!("{middle} bytes first"), &members, Ok(&[&name])).await;
    }
}

#[tokio::test]
async fn damage_behind_such_gzip_is_damage() {
    let whole = stored(&package());
    let mut flipped = whole.clone();
    let at = flipped.len() / 2;
    flipped[at] ^= 1;
    let cut = &whole[..whole.len() - 20];
    for bytes in [&flipped[..], cut] {
        assert!(judge(bytes).await.is_err(), "the checksum of its gzip is wrong");
    }
}

#[tokio::test]
async fn documents_without_bundle_are_problems() {
    let document = br#"{"compassBundle":1}"#;
    let bytes = [file("p/bundle.json", document), package()].concat();
    let expected = "it describes a bundle, which this file no longer is byte for byte";
    for bytes in [bytes.clone(), stored(&bytes)] {
        assert_judged("a document", &bytes, Err(expected)).await;
    }
}
