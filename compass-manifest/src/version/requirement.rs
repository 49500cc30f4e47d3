use std::fmt;
use std::str::FromStr;

use super::{ProductVersion, VersionError};

const FORMAT: &str = "comparisons such as `>=v2.7.2`, separated by commas or spaces";

/// The product versions that a plugin supports, such as `>=v2.7.2` or `>=2.7.0, <2.8.0`.
///
/// Each comparison has one of the operators `=`, `!=`, `>`, `>=`, `<` and `<=`; without an operator, the
/// version must be equal. All comparisons must hold. An empty requirement accepts every version.
///
/// ```
/// use compass_manifest::version::{ProductRequirement, ProductVersion};
///
/// let requirement: ProductRequirement = ">=v2.7.2, <v2.8.0".parse().unwrap();
/// assert!(requirement.accepts(&"v2.7.2-GA".parse::<ProductVersion>().unwrap()));
/// assert!(!requirement.accepts(&"v2.7.2-rc.1".parse::<ProductVersion>().unwrap()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductRequirement {
    text: String,
    comparisons: Vec<(Operator, ProductVersion)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    /// All operators. Those that begin with another one come first.
    const ALL: [(&'static str, Self); 7] = [
        (">=", Self::GreaterOrEqual),
        ("<=", Self::LessOrEqual),
        ("!=", Self::NotEqual),
        ("==", Self::Equal),
        (">", Self::Greater),
        ("<", Self::Less),
        ("=", Self::Equal),
    ];
}

impl ProductRequirement {
    /// Returns whether a version meets all comparisons.
    pub fn accepts(&self, version: &ProductVersion) -> bool {
        self.comparisons.iter().all(|(operator, bound)| {
            let is_same = version.is_same_release(bound);
            match operator {
                Operator::Equal => is_same,
                Operator::NotEqual => !is_same,
                Operator::Less => !is_same && version < bound,
                Operator::LessOrEqual => is_same || version < bound,
                Operator::Greater => !is_same && version > bound,
                Operator::GreaterOrEqual => is_same || version > bound,
            }
        })
    }
}

impl FromStr for ProductRequirement {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let mut comparisons = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (operator, version) = Operator::ALL
                .iter()
                .find_map(|(sign, operator)| Some((*operator, rest.strip_prefix(sign)?)))
                .unwrap_or((Operator::Equal, rest));
            let version = version.trim_start();
            let end =
                version.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(version.len());
            let (version, after) = version.split_at(end);
            let bound = version.parse().map_err(|error: VersionError| VersionError::Format {
                text: text.to_owned(),
                format: FORMAT,
                reason: error.to_string(),
            })?;
            comparisons.push((operator, bound));
            rest = after.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
        }
        Ok(Self { text: text.to_owned(), comparisons })
    }
}

impl fmt::Display for ProductRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_compares_all_versions() {
        for (requirement, version, accepted) in [
            (">=v2.7.2", "v2.7.2", true),
            (">=v2.7.2", "2.10.0", true),
            (">=v2.7.2", "v2.7.1", false),
            (">= v2.7.2 <2.8.0", "v2.7.9", true),
            (">=2.7.0,<2.8.0", "v2.8.0", false),
            ("v2.7.0", "2.7.0-ga", true),
            ("=v2.7.0", "v2.7.1", false),
            ("!=v2.7.0", "v2.7.0-GA", false),
            ("<=v2.7.0", "v2.7.0-ga", true),
            (">v2.7.0", "v2.7.0-GA", false),
            ("", "v1.0.0", true),
        ] {
            let parsed: ProductRequirement = requirement.parse().unwrap();
            assert_eq!(parsed.accepts(&version.parse().unwrap()), accepted, "{requirement}");
        }
    }

    #[test]
    fn parse_other_text_fails() {
        for text in [">=", "latest", ">=v2.7.x", "~2.7.0", "^2.7.0", ">=v2.7.0 || <v2"] {
            assert!(text.parse::<ProductRequirement>().is_err(), "{text}");
        }
    }
}
