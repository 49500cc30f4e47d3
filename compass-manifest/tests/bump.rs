//! Property tests of `bump` on generated manifests.
#![allow(clippy::unwrap_used)]

use compass_manifest::bump::{HotfixRequest, bump_plugin, new_hotfix, set_plugin_version};
use compass_manifest::source::SourceFile;
use compass_manifest::version::{BumpLevel, Date, HotfixVersion, PluginVersion, ProductVersion};
use compass_manifest::{Policy, ReleaseRepository, Tree};
use proptest::prelude::*;

fn load(tree: &Tree) -> ReleaseRepository {
    ReleaseRepository::load(tree.clone(), Policy::default())
}

/// A placeholder for the version in generated texts.
const VERSION: &str = "\u{1}";

fn level() -> impl Strategy<Value = BumpLevel> {
    prop_oneof![Just(BumpLevel::Major), Just(BumpLevel::Minor), Just(BumpLevel::Patch)]
}

fn version() -> impl Strategy<Value = PluginVersion> {
    (0..99_u32, 0..99_u32, 0..99_u32, proptest::option::of("(alpha|rc)\\.[1-9]")).prop_map(
        |(major, minor, patch, pre)| {
            let pre = pre.map(|pre| format!("-{pre}")).unwrap_or_default();
            format!("v{major}.{minor}.{patch}{pre}").parse().unwrap()
        },
    )
}

/// Generates a YAML scalar with a text, in one of the styles.
fn written(text: &str) -> impl Strategy<Value = String> + use<> {
    prop_oneof![
        Just(text.to_owned()),
        Just(format!("'{text}'")),
        Just(format!("\"{text}\"")),
        Just(format!("&it {text}")),
        Just(format!("!!str '{text}'")),
    ]
}

/// Generates the end of a line: nothing, spaces, or a comment that looks like the value.
fn line_end() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), Just("   ".to_owned()), "  # [a-z版本 ]{0,8}v1\\.0\\.0",]
}

fn between() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        1 => Just("\n".to_owned()),
        1 => "# version: v[0-9]\\.[0-9]\\.0 [a-z说明'\"]{0,8}\n",
    ]
}

/// Generates a plugin manifest with [`VERSION`] as its version.
fn manifest() -> impl Strategy<Value = String> {
    let image = "registry.example/release/compass-plugins-gpu:\u{1}";
    let own = "registry.example/release/compass-plugins-gpu-job:\u{1}";
    let version = (between(), written(VERSION), line_end())
        .prop_map(|(before, version, behind)| format!("{before}  version: {version}{behind}\n"));
    let service = (
        between(),
        written(image).prop_map(|text| text.replace("&it", "&image")),
        line_end(),
        proptest::option::of((written(own), line_end())),
        between(),
    )
        .prop_map(|(before, image, behind, own, after)| {
            let envs = own.map_or_else(String::new, |(own, behind)| {
                let own = own.replace("&it", "&own");
                format!(
                    "    configs:\n      envs:\n      - {{name: A, value: 'registry.example/other/x:v1.0.0'}}\n      - name: JOB\n        value: {own}{behind}\n"
                )
            });
            format!("{before}  service:\n    port: 80\n    image: {image}{behind}\n{envs}{after}")
        });
    let note = "  note: |\n    version: v1.0.0\n    持续\n";
    (between(), version, service, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        move |(head, version, service, swapped, crlf, ends)| {
            let parts = if swapped { service + note + &version } else { version + note + &service };
            let mut text =
                format!("{head}metadata: {{name: gpu, alias: \"v1.0.0\"}}\nspec:\n{parts}");
            if !ends {
                text.truncate(text.trim_end().len());
            }
            if crlf { text.replace('\n', "\r\n") } else { text }
        },
    )
}

proptest! {
    #[test]
    fn next_version_is_greater(version in version(), level in level()) {
        let next = version.next(level).unwrap();
        prop_assert!(next > version);
        prop_assert!(!next.is_prerelease());
        prop_assert_eq!(next.to_string().parse::<PluginVersion>().unwrap(), next);
    }

    #[test]
    fn bump_changes_only_versions(
        text in manifest(), version in version(), level in level()
    ) {
        let with = |version: &PluginVersion| text.replace(VERSION, &version.to_string());
        let bumped = bump_plugin(&SourceFile::new("release-plugins/gpu.yaml", with(&version)), &Policy::default(), level);
        let bumped = bumped.unwrap();
        prop_assert!(bumped.new > bumped.old);
        prop_assert_eq!(&bumped.old, &version);
        prop_assert_eq!(bumped.changes.len(), text.matches(VERSION).count());
        prop_assert_eq!(bumped.text, with(&bumped.new));
    }

    #[test]
    fn set_version_requires_greater_one(
        text in manifest(), old in version(), new in version()
    ) {
        let with = |version: &PluginVersion| text.replace(VERSION, &version.to_string());
        let source = SourceFile::new("release-plugins/gpu.yaml", with(&old));
        match set_plugin_version(&source, &Policy::default(), &new) {
            Ok(bumped) => {
                prop_assert!(new > old);
                prop_assert_eq!(bumped.text, with(&new));
            }
            Err(_) => prop_assert!(new <= old),
        }
    }

    #[test]
    fn bump_any_text_does_not_panic(text in any::<String>(), level in level()) {
        let _ = bump_plugin(&SourceFile::new("release-plugins/gpu.yaml", text), &Policy::default(), level);
    }

    #[test]
    fn new_hotfix_numbers_increase_per_day(
        base in "v?[1-9]\\.[0-9]\\.[0-9]", month in 1_u8..13, day in 1_u8..29, count in 1_u32..12
    ) {
        let base: ProductVersion = base.parse().unwrap();
        let date = Date::new(2018, month, day).unwrap();
        let values = "_config:\n  _metadata: {name: console-web, version: v1}\n  controllers:\n  - containers: [{image: '[[ registry_release ]]/web:v1'}]\n";
        let mut tree: Tree = [("addons/default/console/web/values.yaml", values)].into_iter().collect();
        let mut versions: Vec<HotfixVersion> = Vec::new();
        for _ in 0..count {
            let addons = tree.clone();
            let file = new_hotfix(&load(&tree), &load(&addons), &HotfixRequest::new("web", &base, date)).unwrap();
            prop_assert_eq!(&file.text, &values.replace("v1", &file.version.to_string()));
            prop_assert!(versions.last().is_none_or(|last| last.next().as_ref() == Some(&file.version)));
            versions.push(file.version);
            tree.insert(file.path, file.text);
        }
    }
}
