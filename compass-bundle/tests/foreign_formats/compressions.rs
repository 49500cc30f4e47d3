//! Compressed packages, archives and layers, and nested archives.

use std::io::Write as _;

use compass_registry::{Digest, Manifest, media_type};
use serde_json::json;

use super::archives::{file, gzip, tar};
use super::docker_save::{Image, Saved, app, manifest};
use super::outcome::{assert_outcome, evaluate};

type Compress = fn(&[u8]) -> Vec<u8>;

/// Supported formats, with their compressors.
pub(crate) const FORMATS: [(&str, Compress); 5] =
    [("none", <[u8]>::to_vec), ("gzip", gzip), ("zstd", zstd), ("xz", xz), ("bzip2", bzip2)];

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    xz_of_preset(bytes, 0)
}

fn xz_of_preset(bytes: &[u8], preset: u32) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), preset);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Compresses with a window of `1 << bits` bytes.
fn zstd_with_window(bytes: &[u8], bits: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(bits).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn saved() -> Saved {
    Saved::default().docker(&Image::new(1), &json!([app(1).0]))
}

fn package(archive: &[u8]) -> Vec<u8> {
    tar(&[file("p/app.yaml", b"a: b\n"), file("p/images.bin", archive)])
}

#[tokio::test]
async fn supported_compression_is_read_at_each_level() {
    let name = app(1).0;
    for (outer, pack) in FORMATS {
        let whole = pack(&saved().tar());
        assert_outcome(&format!("an archive, {outer}"), &whole, Ok(&[&name])).await;
        let twice = gzip(&whole);
        assert_outcome(&format!("gzip around {outer}"), &twice, Ok(&[&name])).await;
        for (inner, pack_archive) in FORMATS {
            let bytes = pack(&package(&pack_archive(&saved().tar())));
            assert_outcome(&format!("{inner} in {outer}"), &bytes, Ok(&[&name])).await;
        }
    }
}

#[tokio::test]
async fn layer_compression_for_registry() {
    for (format, pack) in FORMATS {
        let image = Image::new(1).packed(pack);
        let saved = Saved::default().docker(&image, &json!([app(1).0]));
        let outcome = evaluate(&saved.tar()).await.unwrap();
        assert_eq!(outcome.problems, [""; 0], "{format}");
        let Ok(Manifest::Image { layers, .. }) = outcome.package.images()[0].root.parse() else {
            panic!("an image")
        };
        // Registries and runtimes support no other compression.
        let (kind, bytes) = match format {
            "gzip" => (media_type::OCI_LAYER_GZIP, image.layers[0].clone()),
            "zstd" => (media_type::OCI_LAYER_ZSTD, image.layers[0].clone()),
            _ => (media_type::OCI_LAYER, Image::new(1).layers[0].clone()),
        };
        assert_eq!((&*layers[0].media_type, layers[0].digest), (kind, Digest::of(&bytes)));
    }
}

#[tokio::test]
async fn layer_unsupported_compression_is_problem() {
    for (format, magic) in [("lz4", &b"\x04\x22\x4d\x18"[..]), ("lzip", b"LZIP\x01")] {
        let image = Image::new(1).packed(|layer| [magic, layer].concat());
        let saved = Saved::default().docker(&image, &json!([app(1).0]));
        let expected = format!("is compressed with {format}, which no runtime supports");
        assert_outcome(format, &saved.tar(), Err(&expected)).await;
    }
}

#[tokio::test]
async fn archive_unsupported_compression_is_problem() {
    for (name, magic, format) in [
        ("a.tar.lz4", &b"\x04\x22\x4d\x18 and more"[..], "lz4"),
        ("a.tlz", b"LZIP\x01 and more", "lzip"),
        ("a.tar.lzma", &[&[0x5d, 0, 0, 128, 0][..], &[0xff; 8], b"more"].concat(), "lzma"),
        ("a.tar.Z", b"\x1f\x9d\x90 and more", "compress"),
        ("a.tar", b"7z\xbc\xaf\x27\x1c and more", "7-Zip"),
    ] {
        let bytes = tar(&[file("p/app.yaml", b"a: b\n"), file(&format!("p/{name}"), magic)]);
        let expected = format!("{name}: it is compressed with {format}, which is not supported");
        assert_outcome(name, &bytes, Err(&expected)).await;
        let expected = format!("is compressed with {format}, which is not supported");
        assert_outcome(name, magic, Err(&expected)).await;
    }
    for name in ["a.tar", "a.tar.gz", "a.tgz", "a.txz", "a.tar.zst"] {
        let bytes = tar(&[file("p/app.yaml", b"a: b\n"), file(&format!("p/{name}"), b"text")]);
        let expected = "it has the name of a tar archive, but is not one";
        assert_outcome(name, &bytes, Err(expected)).await;
    }
}

#[tokio::test]
async fn decoder_memory_limit_is_enforced() {
    let archive = saved().tar();
    let name = app(1).0;
    // Windows of 1 to 32 MiB, as in `xz -0` to `xz -8` and `zstd` without `--ultra`.
    for preset in [1, 6, 8] {
        let bytes = xz_of_preset(&archive, preset);
        assert_outcome(&format!("xz -{preset}"), &bytes, Ok(&[&name])).await;
        assert_outcome("an archive", &package(&bytes), Ok(&[&name])).await;
    }
    for bits in [20, 23, 24] {
        let bytes = zstd_with_window(&archive, bits);
        assert_outcome(&format!("a window of {bits} bits"), &bytes, Ok(&[&name])).await;
    }
    let large = [
        (xz_of_preset(&archive, 9), "needs 65 MiB of memory"),
        (zstd_with_window(&archive, 27), "needs 129 MiB of memory"),
    ];
    for (bytes, expected) in large {
        assert_outcome("a package", &bytes, Err(expected)).await;
        assert_outcome("an archive", &package(&bytes), Err("of memory")).await;
        let image = Image::new(1).packed(|layer| match bytes[0] {
            0xfd => xz_of_preset(layer, 9),
            _ => zstd_with_window(layer, 27),
        });
        let saved = Saved::default().docker(&image, &json!([name]));
        assert_outcome("a layer", &saved.tar(), Err("of memory")).await;
    }
}

#[tokio::test]
async fn damaged_compression_is_error() {
    let layers = Image::new(1);
    for (format, pack) in &FORMATS[1..] {
        let whole = pack(&saved().tar());
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x10;
        let cut = &whole[..whole.len() - 9];
        for (what, bytes) in [("flipped", &flipped[..]), ("cut", cut)] {
            let bytes = tar(&[file("p/images.tar.gz", bytes)]);
            assert!(evaluate(&bytes).await.map_or(true, |outcome| !outcome.problems.is_empty()));
            let image = layers.packed(|layer| {
                let mut packed = pack(layer);
                let middle = packed.len() / 2;
                packed[middle] ^= 0x10;
                if what == "cut" {
                    packed = pack(layer);
                    packed.truncate(packed.len() - 9);
                }
                packed
            });
            let bytes = Saved::default().docker(&image, &json!([app(1).0])).tar();
            let outcome = evaluate(&bytes).await;
            assert!(outcome.map_or(true, |it| !it.problems.is_empty()), "{format}, {what}");
        }
    }
}

#[tokio::test]
async fn layout_with_any_compression_is_read() {
    for (kind, pack) in [
        (media_type::OCI_LAYER, FORMATS[0].1),
        (media_type::OCI_LAYER_GZIP, FORMATS[1].1),
        (media_type::OCI_LAYER_ZSTD, FORMATS[2].1),
    ] {
        let image = Image::new(1).packed(pack);
        let mut saved = Saved::default();
        image.layers.iter().chain([&image.config]).for_each(|bytes| drop(saved.blob(bytes)));
        let saved = saved.listed(&manifest(&image, kind), &app(1).1);
        assert_outcome(kind, &saved.tar(), Ok(&[&app(1).0])).await;
    }
}
