//! The two parsers of image references, the pure one of compass-manifest and the one of
//! compass-registry, agree.
#![allow(clippy::unwrap_used)]

use compass_manifest::image::ImageReference;
use compass_registry::Reference;
use proptest::prelude::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Host, repository, tag and digest of a reference.
type Parts = (String, String, Option<String>, Option<String>);

fn manifest_parts(text: &str) -> Option<Parts> {
    let image: ImageReference = text.parse().ok()?;
    let owned = |part: Option<&str>| part.map(str::to_owned);
    let (tag, digest) = (owned(image.tag()), owned(image.digest()));
    Some((image.host().to_owned(), image.repository().to_owned(), tag, digest))
}

fn registry_parts(text: &str) -> Option<Parts> {
    let image: Reference = text.parse().ok()?;
    let tag = image.tag().map(ToString::to_string);
    let digest = image.digest().map(ToString::to_string);
    Some((image.host().to_owned(), image.repository().to_string(), tag, digest))
}

#[test]
fn reference_parsers_agree_on_table() {
    let long_repository = format!("a.example/{}", "r".repeat(255));
    let too_long_repository = format!("{long_repository}r");
    let long_tag = format!("a.example/web:{}", "t".repeat(128));
    let too_long_tag = format!("{long_tag}t");
    let with_digest = format!("a.example/web@{DIGEST}");
    let with_both = format!("a.example/web:v1@{DIGEST}");
    let short_digest = with_digest.trim_end_matches('5').to_owned();
    let upper_digest = with_digest.replace("e3b0", "E3B0");
    for (text, is_valid) in [
        ("harbor.example/release/web:v1.0.0", true),
        ("localhost/a", true),
        ("localhost:5000/a/b-c/d__e:v1", true),
        ("127.0.0.1:5000/a", true),
        ("[::1]:5000/release/web:v1", true),
        ("[2001:db8::1]/web", true),
        ("Harbor.Example/a", true),
        ("a.example/web:_", true),
        (&long_repository, true),
        (&long_tag, true),
        (&with_digest, true),
        (&with_both, true),
        ("", false),
        ("web", false),
        ("web:v1", false),
        ("release/web:v1", false),
        ("a.example/Web", false),
        ("a.example/../web", false),
        ("a.example/a//b", false),
        ("a.example/a..b", false),
        ("a.example/-a", false),
        ("a.example/web:", false),
        ("a.example/web:.v1", false),
        ("a.example/web: v1", false),
        ("a.example/web@", false),
        ("a.example:x/web", false),
        ("a.example:65536/web", false),
        ("a..example/web", false),
        ("::1/web", false),
        ("[::1/web", false),
        ("[::1]x/web", false),
        ("[a.example]/web", false),
        ("https://a.example/web", false),
        (&too_long_repository, false),
        (&too_long_tag, false),
        (&short_digest, false),
        (&upper_digest, false),
    ] {
        assert_eq!(manifest_parts(text).is_some(), is_valid, "{text}");
        assert_eq!(manifest_parts(text), registry_parts(text), "{text}");
    }
}

proptest! {
    #[test]
    fn reference_parsers_agree_on_edited_references(
        text in "([a-z]{1,5}\\.[a-z]{2}|localhost|\\[::1\\])(:[0-9]{1,6})?(/[a-z0-9]{1,4}([._-]{1,2}[a-z0-9]{1,3})?){1,3}(:[A-Za-z0-9_.-]{1,9})?",
        at in any::<prop::sample::Index>(),
        inserted in "[-a-zA-Z0-9._:/@ é\\[\\]]?",
    ) {
        let position = at.index(text.len() + 1);
        let text = format!("{}{inserted}{}", &text[..position], &text[position..]);
        for text in [text.clone(), format!("{text}@{DIGEST}")] {
            prop_assert_eq!(manifest_parts(&text), registry_parts(&text), "{}", text);
        }
    }
}
