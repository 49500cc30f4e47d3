//! Reads JSON as an event of a forge, and as a list of comments.
#![no_main]

use compass_manifest::review::Facts;
use compass_manifest::review::forge::{PullRequest, parse_comments};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = serde_json::from_slice(bytes) else { return };
    match PullRequest::from_event(&value) {
        Ok(pull) => drop(Facts::new(&pull.author, &pull.body)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match parse_comments(&value) {
        Ok(comments) => assert!(comments.iter().all(|one| one.author == one.author.trim())),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
