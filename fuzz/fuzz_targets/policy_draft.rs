//! Drafts a policy from the files of an input. The draft must be a valid policy.
#![no_main]

use compass_manifest::Policy;
use compass_manifest::policy::POLICY_FILE;
use compass_manifest::policy_draft::PolicyDraft;
use libfuzzer_sys::fuzz_target;

/// Separates the files of an input. Each file is its path, a newline and its content.
const SEPARATOR: u8 = 0x1e;

fuzz_target!(|bytes: &[u8]| {
    let mut draft = PolicyDraft::default();
    for file in bytes.split(|byte| *byte == SEPARATOR) {
        let end = file.iter().position(|byte| *byte == b'\n').unwrap_or(file.len());
        let (path, content) = file.split_at(end);
        if let Ok(path) = std::str::from_utf8(path) {
            draft.add_file(path, content);
        }
    }
    let text = draft.to_yaml(&Policy::default());
    if let Err(error) = Policy::default().overlay(POLICY_FILE, text.as_bytes()) {
        panic!("{error}\n{text}");
    }
});
