//! Pairs of images that a comparison compares.

use std::collections::BTreeMap;

use super::side::SideImage;

/// An image in both packages, or in one of them.
pub(super) struct ImagePair<'c> {
    /// The repository, with the tag if either package contains several images of it.
    pub(super) name: String,
    pub(super) old: Option<SideImage<'c>>,
    pub(super) new: Option<SideImage<'c>>,
}

/// Pairs images with the same reference. The remaining images of a repository become pairs of an
/// older and a newer version, in the descending order of their tags.
pub(super) fn match_images<'c>(
    old: Vec<SideImage<'c>>,
    new: Vec<SideImage<'c>>,
) -> Vec<ImagePair<'c>> {
    let mut repositories: BTreeMap<String, (Vec<SideImage<'c>>, Vec<SideImage<'c>>)> =
        BTreeMap::new();
    let repository = |image: &SideImage<'_>| image.reference.repository().to_string();
    for image in old {
        repositories.entry(repository(&image)).or_default().0.push(image);
    }
    for image in new {
        repositories.entry(repository(&image)).or_default().1.push(image);
    }
    repositories
        .into_iter()
        .flat_map(|(name, (old, new))| match_in_repository(&name, old, new))
        .collect()
}

fn match_in_repository<'c>(
    repository: &str,
    mut old: Vec<SideImage<'c>>,
    mut new: Vec<SideImage<'c>>,
) -> Vec<ImagePair<'c>> {
    let is_alone = old.len() <= 1 && new.len() <= 1;
    let name = |image: Option<&SideImage<'c>>| match image {
        Some(image) if !is_alone => format!("{repository}:{}", image.reference.tag_or_digest()),
        _ => repository.to_owned(),
    };
    let by_locator = |image: &SideImage<'c>| image.reference.tag_or_digest().to_string();
    old.sort_by_cached_key(by_locator);
    new.sort_by_cached_key(by_locator);
    let mut found = Vec::new();
    let mut changed = Vec::new();
    for image in new {
        let same = |other: &SideImage<'c>| {
            other.reference.tag_or_digest() == image.reference.tag_or_digest()
        };
        match old.iter().position(same) {
            Some(at) => {
                let before = old.remove(at);
                found.push(ImagePair {
                    name: name(Some(&image)),
                    old: Some(before),
                    new: Some(image),
                });
            }
            None => changed.push(image),
        }
    }
    loop {
        let (before, after) = (old.pop(), changed.pop());
        if before.is_none() && after.is_none() {
            break;
        }
        let name = name(after.as_ref().or(before.as_ref()));
        found.push(ImagePair { name, old: before, new: after });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}
