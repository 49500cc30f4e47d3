//! Tests drafts of policies: they are valid, and repositories in any directories pass with them.
#![allow(clippy::unwrap_used)]

use compass_manifest::policy_draft::PolicyDraft;
use compass_manifest::strategies::{mutated_repositories, repositories};
use compass_manifest::{Policy, Tree, check};
use proptest::prelude::*;

fn draft(tree: &Tree) -> Policy {
    let mut draft = PolicyDraft::default();
    for (path, bytes) in tree.files() {
        draft.add_file(path, bytes);
    }
    let text = draft.to_yaml(&Policy::default());
    Policy::default().overlay(".compass.yaml", text.as_bytes()).unwrap_or_else(|error| {
        panic!("{error}: {}\n{text}", error.help);
    })
}

/// Moves plugins and hotfixes to other directories.
fn moved(tree: &Tree) -> Tree {
    let renamed = |path: &str| {
        path.replacen("release-plugins/", "ui/plugins/", 1).replacen(
            "release-hotfixes/",
            "patches/",
            1,
        )
    };
    tree.files().map(|(path, bytes)| (renamed(path), bytes)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn draft_of_valid_repository_passes(repository in repositories()) {
        for tree in [repository.tree(), moved(&repository.tree())] {
            let report = check(&tree, &draft(&tree));
            prop_assert!(report.passes(), "{:?}", report.findings());
        }
    }

    #[test]
    fn draft_of_any_repository_is_valid((tree, _) in mutated_repositories()) {
        draft(&tree);
    }

    #[test]
    fn draft_of_any_file_is_valid(
        path in "([a-z*!{}'\": #.é-]{1,8}/){0,3}[a-z*'\" ]{1,6}\\.(yaml|list|txt)",
        bytes in prop_oneof![
            any::<Vec<u8>>(),
            "(release|x)/[a-z]{1,4}:v1\n".prop_map(String::into_bytes),
            "metadata: \\{name: '[^']{0,8}'\\}\nspec: \\{service: \\{image: '[^']{0,20}'\\}\\}\n".prop_map(String::into_bytes),
        ],
    ) {
        draft(&[(path, bytes)].into_iter().collect());
    }
}
