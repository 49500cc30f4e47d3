//! Property tests of versions and image references.
#![allow(clippy::unwrap_used)]

use compass_manifest::image::ImageReference;
use compass_manifest::version::{HotfixVersion, PluginVersion, ProductVersion};
use proptest::prelude::*;

proptest! {
    #[test]
    fn plugin_version_display_is_input(
        text in r"v(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})(-(alpha|beta|rc)\.[1-9][0-9]?)?"
    ) {
        let version: PluginVersion = text.parse().unwrap();
        prop_assert_eq!(version.to_string(), text);
    }

    #[test]
    fn product_version_display_is_input(
        text in r"v?[1-9]\.[0-9]\.[0-9](-(ga|GA|rc\.[1-9]))?"
    ) {
        let version: ProductVersion = text.parse().unwrap();
        prop_assert_eq!(version.to_string(), text);
    }

    #[test]
    fn hotfix_version_display_is_input(
        text in r"v2\.[0-9]\.[0-9](-rc\.1)?-20[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|1[0-9]|2[0-8])-p[1-9][0-9]{0,3}"
    ) {
        let version: HotfixVersion = text.parse().unwrap();
        prop_assert_eq!(version.to_string(), text);
    }

    #[test]
    fn hotfix_version_order_compares_numbers(a in 1_u32..5000, b in 1_u32..5000) {
        let version = |n: u32| format!("v2.7.0-20180605-p{n}").parse::<HotfixVersion>().unwrap();
        prop_assert_eq!(version(a).cmp(&version(b)), a.cmp(&b));
    }

    #[test]
    fn image_reference_display_is_input(
        text in r"(localhost:5000|harbor\.example|127\.0\.0\.1:80)(/[a-z0-9]{1,6}([._-][a-z0-9]{1,4})?){1,3}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,9})?(@sha256:[0-9a-f]{64})?"
    ) {
        let image: ImageReference = text.parse().unwrap();
        prop_assert_eq!(image.to_string(), text);
    }

    #[test]
    fn parse_any_text_does_not_panic(text in any::<String>()) {
        let _ = text.parse::<PluginVersion>();
        let _ = text.parse::<ProductVersion>();
        let _ = text.parse::<HotfixVersion>();
        let _ = text.parse::<ImageReference>();
    }
}

#[test]
fn hotfix_version_invalid_date_fails() {
    for bad in [
        "v2.7.0-20180230-p1",
        "v2.7.0-20181301-p1",
        "v2.7.0-20180605-p0",
        "v2.7.0-20180605-p01",
        "v2.7.0",
    ] {
        assert!(bad.parse::<HotfixVersion>().is_err(), "{bad}");
    }
    assert!("v2.7.0-20200229-p1".parse::<HotfixVersion>().is_ok());
}

#[test]
fn product_version_ga_is_release() {
    let version = |text: &str| text.parse::<ProductVersion>().unwrap();
    assert!(version("v2.7.0-GA") > version("v2.7.0-rc.1"));
    assert!(version("v2.7.0-ga").is_same_release(&version("2.7.0")));
}
