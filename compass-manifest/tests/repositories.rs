//! What holds for every release repository, right or broken in one way.
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
    fn a_right_repository_has_no_finding(repository in repositories()) {
        let report = check(&repository.tree(), &Policy::default());
        prop_assert!(report.findings().is_empty(), "{:?}", report.findings());
    }

    #[test]
    fn removing_the_cause_of_a_finding_removes_exactly_that_finding(
        repository in repositories(), flaw in prop::sample::select(Mutation::ALL)
    ) {
        let broken = flaw.apply_to(&repository);
        prop_assert_eq!(codes(&broken), vec![flaw.code()], "{:?}", flaw);
        prop_assert!(codes(&repository.tree()).is_empty());
    }

    #[test]
    fn two_flaws_in_different_files_are_found_each(
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
    fn findings_do_not_depend_on_the_order_of_the_files(
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
    fn what_does_not_change_is_not_the_fault_of_a_change((tree, flaw) in mutated_repositories()) {
        let report = check_change(&tree, &tree, &Policy::default());
        prop_assert!(report.passes());
        prop_assert_eq!(report.preexisting(), 1, "{:?}", flaw);
        prop_assert_eq!(report.strict().findings()[0].preexisting, false);
    }

    #[test]
    fn displaying_what_was_parsed_gives_back_the_input(
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
    fn hotfixes_are_ordered_by_base_then_day_then_number(
        one in hotfix_versions(), two in hotfix_versions()
    ) {
        let (one, two): (HotfixVersion, HotfixVersion) = (one.parse().unwrap(), two.parse().unwrap());
        let key = |version: &HotfixVersion| (version.base().clone(), version.date(), version.patch());
        prop_assert_eq!(one.cmp(&two), key(&one).cmp(&key(&two)));
        prop_assert_eq!(one.cmp(&two), two.cmp(&one).reverse());
        prop_assert_eq!(one == two, one.cmp(&two).is_eq());
    }

    #[test]
    fn the_order_of_component_versions_is_total(
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
    fn arbitrary_bytes_never_make_a_check_panic(bytes in any::<Vec<u8>>()) {
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
