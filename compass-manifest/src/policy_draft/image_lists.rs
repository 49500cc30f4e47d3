//! Finds the image lists, and patterns that match them.

use std::collections::{BTreeMap, BTreeSet};

use super::survey::{Survey, SurveyedFile};
use super::{Addons, MAX_VALUES};

/// A list is one of addon images if at least this part of its images is used, in percent.
const MIN_USED_PERCENT: usize = 90;

#[derive(Debug, Default)]
pub(super) struct ImageLists {
    pub(super) patterns: BTreeSet<String>,
    /// The lists that name only images of addons and plugins; `*` if all do.
    pub(super) of_addons: BTreeSet<String>,
}

impl ImageLists {
    pub(super) fn of(survey: &Survey, addons: &Addons) -> Self {
        let lists: BTreeMap<&str, &[String]> = survey
            .files
            .iter()
            .filter_map(|(path, file)| match file {
                SurveyedFile::ImageList { images } if is_plain(path) => {
                    Some((path.as_str(), images.as_slice()))
                }
                _ => None,
            })
            .take(MAX_VALUES)
            .collect();
        let is_used = |images: &[String]| {
            let used = images.iter().filter(|image| survey.used_images.contains(*image)).count();
            used * 100 >= images.len() * MIN_USED_PERCENT
        };
        let of_addons: BTreeSet<String> = lists
            .iter()
            .filter(|(_, images)| is_used(images))
            .map(|(path, _)| (*path).to_owned())
            .collect();
        let all = of_addons.len() == lists.len() || addons.directories.is_empty();
        Self {
            patterns: patterns(&lists),
            of_addons: if all { ["*".to_owned()].into() } else { of_addons },
        }
    }
}

/// Returns whether a pattern can match the path literally.
fn is_plain(path: &str) -> bool {
    !path.contains(['*', '?', '[', '{', '\\']) && !path.starts_with('!')
}

/// Returns one pattern for the lists of each directory with the same ending.
fn patterns(lists: &BTreeMap<&str, &[String]>) -> BTreeSet<String> {
    let mut groups: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for path in lists.keys() {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        groups.entry((directory, ending)).or_default().push(name);
    }
    groups
        .into_iter()
        .map(|((directory, ending), names)| match directory {
            // In the root, only a common prefix keeps the pattern from matching other files.
            "" => match (common_prefix(&names), &names[..]) {
                (prefix, [_, _, ..]) if !prefix.is_empty() => format!("{prefix}*.{ending}"),
                _ => names[0].to_owned(),
            },
            directory => format!("{directory}/*.{ending}"),
        })
        .collect()
}

/// The common beginning of names, up to a `_` or `-`.
fn common_prefix<'n>(names: &[&'n str]) -> &'n str {
    let Some((first, rest)) = names.split_first() else { return "" };
    let common = rest.iter().fold(first.len(), |end, name| {
        let same = first.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        end.min(same)
    });
    // The bytes before an ASCII separator are whole characters.
    let end = first.as_bytes()[..common].iter().rposition(|byte| matches!(byte, b'_' | b'-'));
    end.map_or("", |end| &first[..=end])
}
