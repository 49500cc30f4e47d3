//! Parses text as a `WWW-Authenticate` header.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The module is private in the crate.
#[allow(dead_code)]
#[path = "../../compass-registry/src/client/challenge.rs"]
mod challenge;

fuzz_target!(|header: &str| drop(challenge::parse(header)));
