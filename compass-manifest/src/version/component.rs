use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::VersionError;

const FORMAT: &str = "[NAME-]vN.N.N[-SUFFIX]";

/// The version of a component, in the format of its team.
///
/// Examples are `v0.3.24.1`, `cps-v2.7.3-2`, `10-alpine` and `v3.1.53-patch-2`.
///
/// The order compares the numbers, then the suffix: `-alpha`, `-beta` and `-rc` precede the version
/// without a suffix, any other suffix (`-hotfix`, `-patch-2`, `-fix-306`, `-upgrade`) follows it.
/// Two spellings of one version are ordered by their text, so that the order is total.
///
/// ```
/// use compass_manifest::version::ComponentVersion;
///
/// let version = |text: &str| text.parse::<ComponentVersion>().unwrap();
/// assert!(version("v3.3.0-beta.5") < version("v3.3.0"));
/// assert!(version("v3.3.0") < version("v3.3.0-hotfix"));
/// assert!(version("v0.3.24") < version("v0.3.24.1"));
/// assert!("test".parse::<ComponentVersion>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ComponentVersion {
    text: String,
    numbers: Vec<u64>,
    stage: Stage,
    suffix: Vec<SuffixPart>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Stage {
    Before,
    Release,
    After,
}

/// A sequence of digits, or of other characters, in a suffix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum SuffixPart {
    Number(u64),
    Word(String),
}

impl ComponentVersion {
    /// Returns whether two texts are versions, and the new one is lower.
    pub(crate) fn decreases(old: &str, new: &str) -> bool {
        matches!((old.parse::<Self>(), new.parse::<Self>()), (Ok(old), Ok(new)) if new < old)
    }
}

impl FromStr for ComponentVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let error = |reason: &str| VersionError::Format {
            text: text.to_owned(),
            format: FORMAT,
            reason: reason.to_owned(),
        };
        if text.contains(char::is_whitespace) {
            return Err(error("it contains whitespace"));
        }
        let start = text
            .char_indices()
            .find(|(at, c)| c.is_ascii_digit() && begins_version(&text[..*at]))
            .map(|(at, _)| at)
            .ok_or_else(|| error("it contains no number"))?;
        let rest = &text[start..];
        let length = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (numbers, suffix) = rest.split_at(length);
        let numbers: Result<Vec<u64>, _> =
            numbers.trim_end_matches('.').split('.').map(str::parse).collect();
        let numbers = numbers.map_err(|_| error("a number is too large or missing"))?;
        let suffix = suffix.trim_start_matches(['-', '.', '_', '+']);
        Ok(Self { text: text.to_owned(), numbers, stage: stage(suffix), suffix: parts(suffix) })
    }
}

/// Returns whether a version may begin after a text.
///
/// The text must be empty or end with `-`, each with an optional `v` at its end.
fn begins_version(before: &str) -> bool {
    let before = before.strip_suffix(['v', 'V']).unwrap_or(before);
    before.is_empty() || before.ends_with('-')
}

fn stage(suffix: &str) -> Stage {
    let word = suffix.to_ascii_lowercase();
    if suffix.is_empty() || word == "ga" {
        Stage::Release
    } else if ["alpha", "beta", "rc", "pre", "dev"].iter().any(|early| word.starts_with(early)) {
        Stage::Before
    } else {
        Stage::After
    }
}

fn parts(suffix: &str) -> Vec<SuffixPart> {
    let mut parts = Vec::new();
    let mut rest = suffix;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        parts.push(match run.parse() {
            Ok(number) if digits => SuffixPart::Number(number),
            _ => SuffixPart::Word(run.to_owned()),
        });
        rest = after;
    }
    parts
}

impl Ord for ComponentVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| self.stage.cmp(&other.stage))
            .then_with(|| self.suffix.cmp(&other.suffix))
            .then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for ComponentVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ComponentVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmp_follows_release_order() {
        let released = [
            "v0.3.20",
            "v0.3.21-alpha.1",
            "v0.3.21-alpha.2",
            "v0.3.21-alpha.10",
            "v0.3.21-beta",
            "v0.3.21-rc.3",
            "v0.3.21",
            "v0.3.21-hotfix",
            "v0.3.21.1",
            "v0.3.22-patch-2",
            "v0.3.22-patch-10",
            "v1",
        ];
        for pair in released.windows(2) {
            let version = |text: &str| text.parse::<ComponentVersion>().unwrap();
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn cmp_ga_equals_bare_version() {
        let version = |text: &str| text.parse::<ComponentVersion>().unwrap();
        assert!(version("1.0.0-rc.1") < version("1.0.0-ga"));
        assert!(version("1.0.0-ga") < version("1.0.0-cve"));
    }

    #[test]
    fn parse_digit_in_name_is_skipped() {
        for (text, numbers) in [("e2e-v1.10", [1, 10]), ("k8s9-3.1", [3, 1])] {
            assert_eq!(text.parse::<ComponentVersion>().unwrap().numbers, numbers, "{text}");
        }
    }

    #[test]
    fn cmp_stage_ignores_case() {
        let version = |text: &str| text.parse::<ComponentVersion>().unwrap();
        assert!(version("1.0.0-GA") < version("1.0.0-cve"));
        assert!(version("1.0.0-RC.1") < version("1.0.0-GA"));
    }

    #[test]
    fn parse_accepts_formats_of_teams() {
        for text in
            ["cps-v2.7.3-2", "10-alpine", "v1alpha2-v1.2.0", "clever1.2.0-x-1.0", "release-v2.1.0"]
        {
            assert_eq!(text.parse::<ComponentVersion>().unwrap().to_string(), text);
        }
        for text in ["test", "", "v", "a b1", "99999999999999999999999"] {
            assert!(text.parse::<ComponentVersion>().is_err(), "{text}");
        }
    }
}
