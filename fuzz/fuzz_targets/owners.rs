//! Reads bytes as an OWNERS file and as `OWNERS_ALIASES`, and finds the owners of a path.
//! An account becomes part of a comment, so it must be a login or a team.
#![no_main]

use compass_manifest::review::Owners;
use libfuzzer_sys::fuzz_target;

/// Separates the files of an input.
const SEPARATOR: u8 = 0x1e;

const PATH: &str = "release-plugins/gpu-manager.yaml";

fuzz_target!(|bytes: &[u8]| {
    let mut files = bytes.splitn(3, |byte| *byte == SEPARATOR);
    let mut next = || files.next().unwrap_or_default();
    let files = [("OWNERS", next()), ("release-plugins/OWNERS", next()), ("OWNERS_ALIASES", next())];
    match Owners::read(files) {
        Ok(owners) => {
            for account in owners.of(PATH) {
                let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
                assert!(!account.is_empty() && account.chars().all(is_plain), "{account:?}");
            }
        }
        Err(error) => {
            assert!(error.line > 0);
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
});
