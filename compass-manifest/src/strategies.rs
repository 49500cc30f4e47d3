//! Defines strategies for property tests (feature `proptest`).
//!
//! They generate versions, image references, and whole release repositories, either valid or with
//! one known error. Example of a test for a program that uses this crate:
//!
//! ```
//! use compass_manifest::strategies::{Mutation, mutated_repositories, repositories};
//! use compass_manifest::{Policy, check};
//! use proptest::prelude::*;
//!
//! proptest! {
//!     # #![proptest_config(ProptestConfig::with_cases(8))]
//!     fn gate_valid_repository_passes(repository in repositories()) {
//!         prop_assert!(check(&repository.tree(), &Policy::default()).passes());
//!     }
//!
//!     fn gate_mutated_repository_fails((tree, mutation) in mutated_repositories()) {
//!         let report = check(&tree, &Policy::default());
//!         prop_assert_eq!(report.findings()[0].code, mutation.code());
//!     }
//! }
//! gate_valid_repository_passes();
//! gate_mutated_repository_fails();
//! ```

mod mutation;
mod repository;

use proptest::prelude::*;

use crate::version::Date;

pub use mutation::{Mutation, mutated_repositories};
pub use repository::{Addon, Hotfix, Plugin, Repository, repositories};

/// Generates plugin versions, such as `v0.1.0`, without pre-releases.
pub fn plugin_versions() -> impl Strategy<Value = String> {
    (0..50_u32, 0..50_u32, 0..500_u32)
        .prop_map(|(major, minor, patch)| format!("v{major}.{minor}.{patch}"))
}

/// Generates product versions, with and without `v`, `-ga` and `-rc.1`.
pub fn product_versions() -> impl Strategy<Value = String> {
    let suffix = prop_oneof![
        4 => Just(String::new()),
        1 => Just("-ga".to_owned()),
        1 => Just("-GA".to_owned()),
        1 => (1..30_u32).prop_map(|number| format!("-rc.{number}")),
        1 => (1..30_u32).prop_map(|number| format!("-beta.{number}")),
    ];
    ("v?", 0..9_u32, 0..20_u32, 0..20_u32, suffix)
        .prop_map(|(v, major, minor, patch, suffix)| format!("{v}{major}.{minor}.{patch}{suffix}"))
}

/// Generates existing dates in the format `YYYYMMDD`.
pub fn dates() -> impl Strategy<Value = String> {
    (2000..2100_u16, 1..13_u8, 1..32_u8)
        .prop_map(|(year, month, day)| format!("{year:04}{month:02}{day:02}"))
        .prop_filter("an existing date", |text| Date::parse(text).is_some())
}

/// Generates HOTFIXVERSIONs, such as `v2.7.0-20180605-p1`.
pub fn hotfix_versions() -> impl Strategy<Value = String> {
    (product_versions(), dates(), 1..2_000_u32).prop_map(|(base, date, patch)| {
        format!("v{}-{date}-p{patch}", base.trim_start_matches('v'))
    })
}

/// Generates component versions in the formats that teams use.
pub fn component_versions() -> impl Strategy<Value = String> {
    prop_oneof![
        plugin_versions(),
        "v[0-9]\\.[0-9]{1,2}\\.[0-9]{1,2}-(alpha|beta|rc)\\.[0-9]{1,2}",
        "v[0-9]\\.[0-9]{1,2}\\.[0-9]{1,2}-(hotfix|patch-[1-9]|fix-[0-9a-f]{8}|upgrade)",
        "(cps-|release-|)v[0-9]\\.[0-9]\\.[0-9](\\.[0-9])?(-[0-9])?",
        "[0-9]{1,2}(\\.[0-9])?-alpine",
    ]
}

/// Generates names of plugins, addons and image repositories.
///
/// The names need no quotes in YAML.
pub fn names() -> impl Strategy<Value = String> {
    const WORDS: [&str; 7] = ["yes", "no", "on", "off", "true", "false", "null"];
    let names = "[a-z][a-z0-9]{0,7}(-[a-z]{1,6}){0,2}";
    names.prop_filter("a word of YAML", |name| !WORDS.contains(&name.as_str()))
}

/// Generates image references with a host, a repository, and a tag or a digest.
pub fn image_references() -> impl Strategy<Value = String> {
    let hosts = prop_oneof![
        Just("harbor.example".to_owned()),
        Just("localhost:5000".to_owned()),
        Just("127.0.0.1:80".to_owned()),
    ];
    let version = prop_oneof![
        ":[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}",
        "@sha256:[0-9a-f]{64}",
        Just(String::new())
    ];
    let path = prop::collection::vec("[a-z0-9]{1,6}([._-][a-z0-9]{1,4})?", 1..4);
    (hosts, path, version)
        .prop_map(|(host, path, version)| format!("{host}/{}{version}", path.join("/")))
}
