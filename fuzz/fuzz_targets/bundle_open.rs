//! Opens bytes as a bundle: as the whole file, and as the archive inside the framing of a bundle.
#![no_main]

use std::io::Write as _;

use compass_bundle::Bundle;
use compass_bundle::frame::{self, Framer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    open(bytes);

    let length = bytes.len() as u64;
    let mut framed = frame::HEADER.to_vec();
    Framer::new(0, length).push(bytes, &mut framed);
    framed.extend(frame::trailer(0, length));
    open(&framed);
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
