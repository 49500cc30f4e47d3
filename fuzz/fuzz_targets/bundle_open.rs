//! Opens bytes as a bundle, and as the archive inside a bundle.
#![no_main]

use std::io::Write as _;

use compass_bundle::Bundle;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    open(bytes);

    // The entry of `bundle.json` has a member of its own; its size is in the tar header.
    let octal = bytes.get(124..135).and_then(|size| std::str::from_utf8(size).ok());
    let size = octal.and_then(|size| usize::from_str_radix(size, 8).ok()).unwrap_or(0);
    let end = size.saturating_add(512).checked_next_multiple_of(512).unwrap_or(usize::MAX);
    let (document, rest) = bytes.split_at(end.min(bytes.len()));
    open(&[gzip_member(document), gzip_member(rest)].concat());
});

/// A gzip member of stored blocks, as in bundles.
fn gzip_member(content: &[u8]) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let count = content.len().div_ceil(65_535).max(1);
    for number in 0..count {
        let block = &content[number * 65_535..content.len().min((number + 1) * 65_535)];
        let length = u16::try_from(block.len()).expect("a block has at most 65,535 bytes");
        member.push(u8::from(number + 1 == count));
        member.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
        member.extend(block);
    }
    let mut crc = flate2::Crc::new();
    crc.update(content);
    member.extend([crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat());
    member
}

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
