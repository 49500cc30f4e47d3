//! Opens bytes as a bundle, and as the archive inside a bundle.
#![no_main]

use std::io::Write as _;

use compass_bundle::Bundle;
use compass_bundle::gzip;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    open(bytes);

    // The entry of `bundle.json` has a member of its own; its size is in the tar header.
    let octal = bytes.get(124..135).and_then(|size| std::str::from_utf8(size).ok());
    let size = octal.and_then(|size| usize::from_str_radix(size, 8).ok()).unwrap_or(0);
    let end = size.saturating_add(512).checked_next_multiple_of(512).unwrap_or(usize::MAX);
    let (document, rest) = bytes.split_at(end.min(bytes.len()));
    open(&[gzip::member(document), gzip::member(rest)].concat());
});

fn open(bytes: &[u8]) {
    let mut file = tempfile::Builder::new().tempfile_in("/dev/shm").expect("a file in memory");
    file.write_all(bytes).expect("a file in memory");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    match runtime.block_on(Bundle::open(file.path())) {
        // Opening plans the bundle again, and compares every byte of the layout.
        Ok(bundle) => assert_eq!(bundle.size(), bytes.len() as u64),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
