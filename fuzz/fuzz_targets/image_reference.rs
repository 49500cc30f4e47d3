//! Parses image references of both crates, and their parts.
//! The display form of a value must parse as the same value.
#![no_main]

use compass_manifest::image::ImageReference;
use compass_registry::{Digest, Platform, Reference, RegistryPrefix, Repository, Tag};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(image) = text.parse::<ImageReference>() {
        assert_eq!(image.to_string(), text);
        assert!(text.starts_with(&image.without_version()));
    }
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse::<Reference>().ok(), Some(reference));
    }
    for parsed in [
        text.parse::<Repository>().map(|value| value.to_string()),
        text.parse::<Tag>().map(|value| value.to_string()),
        text.parse::<Digest>().map(|value| value.to_string()),
    ]
    .into_iter()
    .flatten()
    {
        assert_eq!(parsed, text);
    }
    // A platform can be written in two forms, of which one is displayed.
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string().parse::<Platform>().ok(), Some(platform));
    }
    // The prefix drops a scheme and slashes, so its display form differs. It must not panic.
    drop(text.parse::<RegistryPrefix>());
});
