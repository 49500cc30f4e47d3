use super::Platform;
use crate::{Descriptor, Digest};

fn parse(text: &str) -> Platform {
    text.parse().unwrap()
}

/// Platforms, images that run on them, and images that do not, after the tests of
/// containerd/platforms (`Only`) and regclient (`Compatible`).
///
/// Two differences are deliberate. Another architecture never matches, although amd64 processors
/// run 386 and arm64 ones run arm: a release for another architecture is an error. Another
/// operating system never matches either, although Windows and macOS run Linux in a virtual
/// machine.
const SATISFIES: &[(&str, &str, &str)] = &[
    (
        "linux/amd64",
        "linux/amd64 linux/amd64/v1 linux/x86_64 Linux/AMD64",
        // containerd also accepts linux/386.
        "linux/386 linux/amd64/v2 linux/arm/v7 linux/arm64 windows/amd64 linux/amd64/v1.5",
    ),
    (
        "linux/amd64/v2",
        "linux/amd64 linux/amd64/v1 linux/amd64/v2",
        "linux/amd64/v3 linux/amd64/v4 linux/arm/v7 windows/amd64 windows/arm linux/386",
    ),
    ("linux/386", "linux/386 linux/i386", "linux/amd64 linux/arm/v7 windows/amd64"),
    (
        "windows/amd64",
        "windows/amd64 windows(10.0.17763)/amd64 windows(10.0.20348.1+win32k)/amd64",
        "linux/amd64 windows/arm windows(10.0.17763+other)/amd64",
    ),
    (
        "linux/arm/v8",
        "linux/arm linux/arm/v5 linux/arm/v6 linux/arm/v7 linux/arm/v8",
        "linux/amd64 linux/arm/v4 linux/arm64 windows/arm",
    ),
    (
        "linux/arm/v7",
        "linux/arm linux/armhf linux/armel linux/arm/v5 linux/arm/v6 linux/arm/7",
        "linux/amd64 linux/arm/v4 linux/arm/v8 linux/arm64",
    ),
    // Without a variant, arm means version 7.
    ("linux/arm", "linux/arm linux/arm/v7 linux/arm/v6 linux/arm/v5", "linux/arm/v8"),
    ("linux/arm/v6", "linux/arm/v5 linux/arm/v6", "linux/arm linux/arm/v4 linux/arm/v7"),
    ("linux/arm/v5", "linux/arm/v5", "linux/arm linux/arm/v4 linux/arm/v6"),
    ("linux/arm/v4", "linux/arm/v4", "linux/arm linux/arm/v5 linux/arm/v6"),
    (
        "linux/arm64/v9.6",
        "linux/arm64 linux/arm64/v8 linux/arm64/v8.1 linux/arm64/v8.9 linux/arm64/v9 \
             linux/arm64/v9.0 linux/arm64/v9.5 linux/arm64/v9.6",
        // containerd also accepts linux/arm/v5 to v8.
        "linux/arm linux/arm/v7 linux/arm64/v8.10 linux/arm64/v9.7",
    ),
    (
        "linux/arm64/v9",
        "linux/arm64 linux/arm64/v8 linux/arm64/v8.5 linux/arm64/v9 linux/arm64/9.0",
        "linux/arm64/v8.6 linux/arm64/v9.1",
    ),
    (
        "linux/arm64/v8.1",
        "linux/arm64 linux/arm64/v8 linux/arm64/v8.0 linux/arm64/v8.1 linux/aarch64",
        "linux/arm64/v9 linux/arm64/v8.2",
    ),
    ("linux/arm64", "linux/arm64 linux/arm64/v8 linux/arm64/8", "linux/arm64/v9 linux/arm/v8"),
    ("linux/arm64/v8", "linux/arm64 linux/arm64/v8", "linux/arm64/v8.1 linux/arm64/v9"),
    // An unknown variant matches itself and images without a variant.
    ("linux/ppc64le/power9", "linux/ppc64le/power9 linux/ppc64le", "linux/ppc64le/power8"),
    ("linux/ppc64le", "linux/ppc64le", "linux/ppc64le/power9"),
    ("other/amd64/42", "other/amd64/42 other/amd64", "other/amd64/45"),
    // Windows up to Server 2019 runs the same build only, of any revision.
    (
        "windows(10.0.17763.2014)/amd64",
        "windows(10.0.17763.2114)/amd64 windows(10.0.17763)/amd64 windows/amd64",
        "windows(10.0.14393.4583)/amd64 windows(10.0.20348.1)/amd64 linux/amd64",
    ),
    ("windows(10.0.14393.4583)/amd64", "windows/amd64", "windows(10.0.17763.2114)/amd64"),
    // Server 2025 runs images of Server 2022, but no newer ones.
    (
        "windows(10.0.26100.1)/amd64",
        "windows(10.0.20348.9)/amd64 windows(10.0.25398)/amd64 windows(10.0.26100.5)/amd64",
        "windows(10.0.17763.1)/amd64 windows(10.0.27000)/amd64",
    ),
    ("windows(10.0.20348.1)/amd64", "windows(10.0.20348.9)/amd64", "windows(10.0.25398)/amd64"),
    ("linux(+gpu)/amd64", "linux/amd64 linux(+gpu)/amd64", "linux(+gpu+simd)/amd64"),
    ("linux/amd64", "linux/amd64", "linux(+gpu)/amd64"),
    ("darwin/amd64", "macos/amd64 darwin/amd64", "linux/amd64"),
    ("freebsd/amd64", "freebsd/amd64 freebsd(14.0)/amd64", "linux/amd64"),
    ("freebsd(14.1)/amd64", "freebsd/amd64 freebsd(14.1)/amd64", "freebsd(14.0)/amd64"),
];

#[test]
fn platform_satisfies_as_containerd_matches() {
    for &(wanted, runs, others) in SATISFIES {
        let wanted = parse(wanted);
        for image in runs.split_whitespace() {
            assert!(parse(image).satisfies(&wanted), "{image} for {wanted}");
        }
        for image in others.split_whitespace() {
            assert!(!parse(image).satisfies(&wanted), "{image} for {wanted}");
        }
    }
}

fn index(platforms: &[&str]) -> Vec<Descriptor> {
    let images = platforms.iter().map(|platform| Descriptor {
        platform: Some(parse(platform)),
        ..Descriptor::of("x", platform.as_bytes())
    });
    images.collect()
}

#[test]
fn platform_best_image_ignores_order() {
    for (wanted, images, best) in [
        ("linux/amd64", "linux/amd64/v3 linux/amd64", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64 linux/amd64/v2 linux/amd64/v4", "linux/amd64/v2"),
        ("linux/amd64/v3", "linux/amd64/v2 linux/amd64/v3 linux/amd64", "linux/amd64/v3"),
        ("linux/arm64", "linux/arm64/v9 linux/arm64/v8", "linux/arm64/v8"),
        ("linux/arm/v7", "linux/arm/v5 linux/arm/v6 linux/arm/v8", "linux/arm/v6"),
        (
            "windows(10.0.26100)/amd64",
            "windows(10.0.20348.1)/amd64 windows(10.0.26100.4)/amd64 windows/amd64",
            "windows(10.0.26100.4)/amd64",
        ),
        (
            "windows(10.0.17763.5)/amd64",
            "windows(10.0.17763.9)/amd64 windows(10.0.17763.5)/amd64",
            "windows(10.0.17763.5)/amd64",
        ),
        ("linux(+gpu)/amd64", "linux/amd64 linux(+gpu)/amd64", "linux(+gpu)/amd64"),
    ] {
        let mut images = index(&images.split_whitespace().collect::<Vec<_>>());
        for _ in 0..2 {
            let found = parse(wanted).best_of(&images);
            let found: Vec<_> = found.iter().map(|image| image.digest).collect();
            assert_eq!(found, [Digest::of(best.as_bytes())], "{wanted}");
            images.reverse();
        }
    }
}

#[test]
fn platform_best_images_may_be_several() {
    let images = index(&["linux/amd64", "linux/amd64/v1", "linux/arm64"]);
    assert_eq!(parse("linux/amd64").best_of(&images).len(), 2);
    let images = index(&["windows(10.0.17763.1)/amd64", "windows(10.0.20348.1)/amd64"]);
    assert_eq!(parse("windows/amd64").best_of(&images).len(), 2);
    assert_eq!(parse("linux/s390x").best_of(&images), Vec::<&Descriptor>::new());
}

#[test]
fn platform_text_is_read_back() {
    for text in [
        "linux/amd64",
        "linux/arm/v7",
        "windows(10.0.17763.1879)/amd64",
        "windows(10.0.17763+win32k)/amd64",
        "linux(+gpu+simd)/amd64",
    ] {
        assert_eq!(parse(text).to_string(), text);
    }
    // crane writes the version at the end.
    assert_eq!(parse("windows/amd64:10.0.17763").to_string(), "windows(10.0.17763)/amd64");
    for text in [
        "",
        "linux",
        "linux/",
        "/amd64",
        "linux/amd64/",
        "linux/amd64/v1/x",
        "linux(/amd64",
        "linux()x/amd64",
        "linux/am d64",
        "linux(+)/amd64",
        "linux(1)/amd64:2",
        "linux/amd64:",
    ] {
        assert!(text.parse::<Platform>().is_err(), "{text}");
    }
}

#[test]
fn platform_from_config_skips_invalid() {
    for (config, platform) in [
        (r#"{"os":"linux","architecture":"arm64","variant":"v8","rootfs":{}}"#, "linux/arm64/v8"),
        (r#"{"os":"linux","architecture":"amd64","variant":""}"#, "linux/amd64"),
        (
            r#"{"os":"windows","architecture":"amd64","os.version":"10.0.17763.1","os.features":null}"#,
            "windows(10.0.17763.1)/amd64",
        ),
    ] {
        let named = Platform::from_config(config.as_bytes()).map(|named| named.to_string());
        assert_eq!(named.as_deref(), Some(platform));
    }
    for config in [
        "{}",
        "not JSON",
        r#"{"os":"","architecture":"amd64"}"#,
        r#"{"architecture":"amd64"}"#,
        r#"{"os":"linux","architecture":"amd64/v1"}"#,
        r#"{"os":"lin\u001bux","architecture":"amd64"}"#,
    ] {
        assert_eq!(Platform::from_config(config.as_bytes()), None, "{config}");
    }
}
