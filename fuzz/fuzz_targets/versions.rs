//! Parses versions.
//! The display form must be the input, and must parse as an equal version.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use compass_manifest::version::{HotfixVersion, PluginVersion, ProductVersion};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    round_trip::<PluginVersion>(text);
    round_trip::<ProductVersion>(text);
    round_trip::<HotfixVersion>(text);
});

fn round_trip<V: FromStr<Err: Display> + Display + Debug + Ord>(text: &str) {
    match text.parse::<V>() {
        Ok(version) => {
            assert_eq!(version.to_string(), text);
            assert!(version.to_string().parse::<V>().is_ok_and(|again| again == version));
            assert!(version.cmp(&version).is_eq());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
