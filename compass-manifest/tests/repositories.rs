//! Property tests with generated repositories, which are valid or have one error.
#![allow(clippy::unwrap_used)]

use compass_manifest::image::ImageReference;
use compass_manifest::strategies::{
    Mutation, component_versions, dates, hotfix_versions, image_references, mutated_repositories,
    plugin_versions, product_versions, repositories,
};
use compass_manifest::version::{
    ComponentVersion, Date, HotfixVersion, PluginVersion, ProductVersion,
};
use compass_manifest::{Policy, Tree, check, check_change};
use proptest::prelude::*;

fn codes(tree: &Tree) -> Vec<&'static str> {
    check(tree, &Policy::default()).findings().iter().map(|finding| finding.code).collect()
}

proptest! {
    #[test]
    fn valid_repository_has_no_finding(repository in repositories()) {
        let report = check(&repository.tree(), &Policy::default());
        prop_assert!(report.findings().is_empty(), "{:?}", report.findings());
    }

    #[test]
    fn mutation_gives_exactly_its_finding(
        repository in repositories(), mutation in prop::sample::select(Mutation::ALL)
    ) {
        let broken = mutation.apply_to(&repository);
        prop_assert_eq!(codes(&broken), vec![mutation.code()], "{:?}", mutation);
        prop_assert!(codes(&repository.tree()).is_empty());
    }

    #[test]
    fn two_mutations_give_two_findings(
        repository in repositories(), port in any::<bool>()
    ) {
        let (one, two) = (Mutation::MisplacedFile, if port { Mutation::SamePort } else { Mutation::NoImage });
        let mut tree = two.apply_to(&repository);
        for (path, bytes) in one.apply_to(&repository).files() {
            if tree.get(path).is_none() {
                tree.insert(path, bytes);
            }
        }
        let (mut found, mut expected) = (codes(&tree), vec![one.code(), two.code()]);
        found.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn findings_do_not_depend_on_file_order(
        (tree, _) in mutated_repositories(), order in any::<prop::sample::Index>()
    ) {
        let mut files: Vec<_> = tree.files().map(|(p, b)| (p.to_owned(), b.to_vec())).collect();
        let middle = order.index(files.len());
        files.rotate_left(middle);
        files.reverse();
        let again: Tree = files.into_iter().collect();
        let (one, two) = (check(&tree, &Policy::default()), check(&again, &Policy::default()));
        prop_assert_eq!(one.findings(), two.findings());
    }

    #[test]
    fn unchanged_errors_are_preexisting((tree, mutation) in mutated_repositories()) {
        let report = check_change(&tree, &tree, &Policy::default());
        prop_assert!(report.passes());
        prop_assert_eq!(report.preexisting(), 1, "{:?}", mutation);
        prop_assert_eq!(report.strict().findings()[0].preexisting, false);
    }

    #[test]
    fn display_of_parsed_value_is_input(
        plugin in plugin_versions(), product in product_versions(), date in dates(),
        hotfix in hotfix_versions(), component in component_versions(), image in image_references()
    ) {
        prop_assert_eq!(plugin.parse::<PluginVersion>().unwrap().to_string(), plugin);
        prop_assert_eq!(product.parse::<ProductVersion>().unwrap().to_string(), product);
        prop_assert_eq!(hotfix.parse::<HotfixVersion>().unwrap().to_string(), hotfix);
        prop_assert_eq!(component.parse::<ComponentVersion>().unwrap().to_string(), component);
        prop_assert_eq!(image.parse::<ImageReference>().unwrap().to_string(), image);
        prop_assert_eq!(Date::parse(&date).unwrap().to_string(), date);
    }

    #[test]
    fn hotfix_version_order_is_lexicographic(
        one in hotfix_versions(), two in hotfix_versions()
    ) {
        let (one, two): (HotfixVersion, HotfixVersion) = (one.parse().unwrap(), two.parse().unwrap());
        let key = |version: &HotfixVersion| (version.base().clone(), version.date(), version.patch());
        prop_assert_eq!(one.cmp(&two), key(&one).cmp(&key(&two)));
        prop_assert_eq!(one.cmp(&two), two.cmp(&one).reverse());
        prop_assert_eq!(one == two, one.cmp(&two).is_eq());
    }

    #[test]
    fn component_version_order_is_total(
        one in component_versions(), two in component_versions(), three in component_versions()
    ) {
        let parse = |text: &String| text.parse::<ComponentVersion>().unwrap();
        let (one, two, three) = (parse(&one), parse(&two), parse(&three));
        prop_assert_eq!(one.cmp(&two), two.cmp(&one).reverse());
        prop_assert_eq!(one == two, one.cmp(&two).is_eq());
        if one <= two && two <= three {
            prop_assert!(one <= three);
        }
    }

    #[test]
    fn check_any_bytes_does_not_panic(bytes in any::<Vec<u8>>()) {
        let paths = [
            "release-plugins/x.yaml",
            "release-hotfixes/v2.7.0/x-v2.7.0-20180605-p1/default/x/x/values.yaml",
            "addons/default/x/x/values.yaml",
            "release-products/v2.7.0.yaml",
            "images-lists/x.list",
        ];
        let tree: Tree = paths.iter().map(|path| (*path, bytes.clone())).collect();
        let report = check(&tree, &Policy::default());
        prop_assert!(report.findings().iter().all(|finding| finding.location.start.line > 0));
    }
}
