//! Interoperability: decompressors that a site may have can read a bundle, an image archive, and a
//! single member of a bundle.
//!
//! Needs the Debian packages `pigz isal busybox p7zip-full libarchive-tools python3 nodejs perl
//! default-jdk-headless`. If one is missing, its reader is skipped, unless `COMPASS_INTEROP=required`
//! is set, as in CI.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sample;

use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use compass_bundle::document::BundleKind;
use compass_bundle::{WriteOptions, write};
use compass_registry::testing::random_bytes;

/// A program, and the arguments that decompress a file to standard output.
const READERS: [(&str, &[&str]); 9] = [
    ("gzip", &["-dc"]),
    ("pigz", &["-dc"]),
    ("igzip", &["-dc"]),
    ("busybox", &["gzip", "-dc"]),
    ("7z", &["x", "-so", "-tgzip"]),
    ("bsdcat", &[]),
    (
        "python3",
        &["-c", "import gzip, sys; sys.stdout.buffer.write(gzip.open(sys.argv[1]).read())"],
    ),
    ("node", &["-e", "process.stdout.write(zlib.gunzipSync(fs.readFileSync(process.argv[1])))"]),
    (
        "perl",
        &["-MIO::Uncompress::Gunzip=gunzip", "-e", "gunzip $ARGV[0] => '-', MultiStream => 1"],
    ),
];

fn decompressed(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut content).unwrap();
    content
}

/// Compares the output of a decompressor with the content of a file.
fn assert_reads(program: &str, arguments: &[&str], file: &Path, content: &[u8]) {
    let ran = Command::new(program).args(arguments).arg(file).output();
    let output = match ran {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let required = std::env::var("COMPASS_INTEROP").is_ok_and(|value| value == "required");
            assert!(!required, "{program} is required and not installed");
            eprintln!("SKIPPED: this needs {program}, which is not installed");
            return;
        }
        ran => ran.unwrap(),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {errors}", file.display());
    assert!(output.stdout == content, "{program} reads other bytes of {}", file.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn bundle_is_read_by_every_gzip() {
    let layers = vec![random_bytes(1, 200_000), random_bytes(2, 65_535), random_bytes(3, 7)];
    let (storage, references) = sample::store(&[layers, vec![random_bytes(4, 70_000)]]).await;
    let plan = sample::plan(&storage, &references, BundleKind::Product, true).await;
    let directory = tempfile::tempdir().unwrap();
    let options = WriteOptions::default();
    let written = write(&plan, Arc::new(storage), directory.path(), &options).await.unwrap();

    let bundle = std::fs::read(&written.path).unwrap();
    let mut files = vec![(written.path.clone(), decompressed(&bundle))];
    let mut tar = Command::new("tar");
    let unpacked = tar.arg("xzf").arg(&written.path).current_dir(&directory).status();
    assert!(unpacked.unwrap().success());
    let archives = directory.path().join("compass-v2.7.0/archives");
    for archive in std::fs::read_dir(archives).unwrap() {
        let path = archive.unwrap().path();
        let content = decompressed(&std::fs::read(&path).unwrap());
        files.push((path, content));
    }
    assert_eq!(files.len(), 3);

    // Only the member of `bundle.json`.
    let mut first = flate2::bufread::GzDecoder::new(&bundle[..]);
    let mut content = Vec::new();
    first.read_to_end(&mut content).unwrap();
    let end = bundle.len() - first.into_inner().len();
    let member = directory.path().join("member.gz");
    std::fs::write(&member, &bundle[..end]).unwrap();
    files.push((member, content));

    let gunzip = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format/Gunzip.java");
    for (file, content) in &files {
        for (program, arguments) in READERS {
            assert_reads(program, arguments, file, content);
        }
        assert_reads("java", &[gunzip.to_str().unwrap()], file, content);
    }
}
