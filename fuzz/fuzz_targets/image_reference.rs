//! What parses as an image reference is displayed as it was written; in the registry's words, what
//! is displayed means the same.
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
        text.parse::<Platform>().map(|value| value.to_string()),
    ]
    .into_iter()
    .flatten()
    {
        assert_eq!(parsed, text);
    }
    // Its scheme and slashes are not kept: only that it comes back.
    drop(text.parse::<RegistryPrefix>());
});
