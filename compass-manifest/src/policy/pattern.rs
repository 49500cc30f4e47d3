use super::value::{ValueError, one_or_more, value_error};
use crate::yaml::Node;

/// The maximum length of a pattern in bytes.
pub const MAX_PATTERN_BYTES: usize = 1024;
/// The maximum number of patterns of a list.
pub(crate) const MAX_PATTERNS: usize = 1000;

/// A pattern for texts and paths, with the wildcards `*` and `**/`.
///
/// `*` matches zero or more characters, including `/`. `**/` matches zero or more directories; it
/// is a wildcard only at the beginning of the pattern and after a `/`.
///
/// ```
/// use compass_manifest::policy::Pattern;
///
/// let lists = Pattern::new("images-lists/**/*.list")?;
/// assert!(lists.matches("images-lists/platform.list"));
/// assert!(lists.matches("images-lists/more/extra/b.list"));
/// assert!(!lists.matches("old-images-lists/platform.list"));
/// # Ok::<(), compass_manifest::policy::PatternError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// The text before the first wildcard.
    prefix: String,
    /// Each wildcard, with the text up to the next one.
    rest: Vec<(Wildcard, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wildcard {
    /// Matches any characters.
    Any,
    /// Matches nothing, or any characters that end with `/`.
    Directories,
}

/// The error for a text that is too long for a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern has {bytes} bytes; at most {MAX_PATTERN_BYTES} are allowed")]
pub struct PatternError {
    bytes: usize,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Returns an error if the text is longer than [`MAX_PATTERN_BYTES`].
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PatternError { bytes: text.len() });
        }
        Ok(Self::of(text))
    }

    /// Parses a text whose length was checked.
    pub(super) fn of(text: &str) -> Self {
        let (prefix, mut after) = split_at_star(text);
        let mut pattern =
            Self { text: text.to_owned(), prefix: prefix.to_owned(), rest: Vec::new() };
        while !after.is_empty() {
            let stars = after.len() - after.trim_start_matches('*').len();
            let begins_segment = text[..text.len() - after.len()].is_empty()
                || text[..text.len() - after.len()].ends_with('/');
            let wildcard = match after[stars..].strip_prefix('/') {
                Some(below) if stars == 2 && begins_segment => {
                    after = below;
                    Wildcard::Directories
                }
                _ => {
                    after = &after[stars..];
                    Wildcard::Any
                }
            };
            let (literal, next) = split_at_star(after);
            after = next;
            match pattern.rest.last_mut() {
                // Two wildcards without text between them match the same texts as the second one
                // alone.
                Some((last, between)) if between.is_empty() => {
                    *last = wildcard;
                    literal.clone_into(between);
                }
                _ => pattern.rest.push((wildcard, literal.to_owned())),
            }
        }
        pattern
    }

    /// Returns whether the pattern matches a whole text.
    pub fn matches(&self, text: &str) -> bool {
        let Some(mut text) = text.strip_prefix(self.prefix.as_str()) else { return false };
        let Some(((last, end), between)) = self.rest.split_last() else { return text.is_empty() };
        // Use the first match, which leaves the longest rest to the later wildcards, so that no
        // backtracking is needed.
        for (wildcard, literal) in between {
            let matches = |(at, _): &(usize, &str)| wildcard.matches(&text[..*at]);
            let Some((at, _)) = text.match_indices(literal.as_str()).find(matches) else {
                return false;
            };
            text = &text[at + literal.len()..];
        }
        text.strip_suffix(end.as_str()).is_some_and(|before| last.matches(before))
    }

    /// Returns whether the pattern may match a path below a directory.
    pub(crate) fn may_match_below(&self, directory: &str) -> bool {
        let directory = format!("{directory}/");
        self.prefix.starts_with(&directory)
            || (!self.rest.is_empty() && directory.starts_with(&self.prefix))
    }

    /// Returns the directory of all paths that the pattern matches; empty for the root.
    pub(crate) fn directory(&self) -> &str {
        self.prefix.rsplit_once('/').map_or("", |(directory, _)| directory)
    }

    /// Returns the pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads one pattern or a list of patterns.
    pub(super) fn list(node: &Node) -> Result<Vec<Self>, ValueError> {
        let nodes = one_or_more(node);
        if nodes.len() > MAX_PATTERNS {
            let message = format!("the list has {} patterns", nodes.len());
            let help = format!("write at most {MAX_PATTERNS}: `*` matches any characters");
            return Err(value_error(node.span, message, help));
        }
        nodes.iter().map(Self::read).collect()
    }

    /// Reads one pattern for paths, or a list of them.
    ///
    /// Other wildcards of shells are errors, because such a pattern would match nothing.
    pub(super) fn paths(node: &Node) -> Result<Vec<Self>, ValueError> {
        let other = |text: &&str| text.contains(['?', '[', '{', '\\']) || text.starts_with('!');
        let mut nodes = one_or_more(node).iter();
        if let Some(node) = nodes.find(|node| node.text().as_ref().is_some_and(other)) {
            let message = "the pattern has an unsupported wildcard";
            let help = "write `*` for any characters, `**/` for directories";
            return Err(value_error(node.span, message, help));
        }
        Self::list(node)
    }

    pub(super) fn read(node: &Node) -> Result<Self, ValueError> {
        let text = node.text().unwrap_or_default();
        Self::new(text).map_err(|error| value_error(node.span, error.to_string(), "shorten it"))
    }
}

impl Wildcard {
    /// Returns whether the wildcard matches a text.
    fn matches(self, text: &str) -> bool {
        self == Self::Any || text.is_empty() || text.ends_with('/')
    }
}

fn split_at_star(text: &str) -> (&str, &str) {
    text.split_at(text.find('*').unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_wildcards_match_as_in_git() {
        for (pattern, fitting, other) in [
            ("a.list", &["a.list"][..], &["b.list", "a.list/", "xa.list", ""][..]),
            ("", &[""], &["a"]),
            ("*", &["", "a", "a/b"], &[]),
            ("**", &["", "a", "a/b"], &[]),
            ("*.list", &[".list", "a.list", "a/b.list"], &["a.list2", "list"]),
            ("l/*.list", &["l/a.list", "l/x/a.list"], &["l.list", "xl/a.list"]),
            ("l/**/*.list", &["l/a.list", "l/x/a.list", "l/x/y/a.list"], &["la.list", "l/a.txt"]),
            ("**/a.list", &["a.list", "x/a.list", "x/y/a.list"], &["xa.list", "x/xa.list"]),
            ("l/**/a.list", &["l/a.list", "l/x/a.list"], &["l/xa.list", "l/x/xa.list"]),
            ("l/**/m/**/a", &["l/m/a", "l/x/m/y/z/a"], &["l/a", "l/xm/a", "l/m/xa"]),
            ("l/**", &["l/", "l/a", "l/a/b"], &["l", "la"]),
            ("l/**/**/a", &["l/a", "l/x/a"], &["l/xa"]),
            ("l**/a", &["l/a", "lx/a", "lx/y/a"], &["la"]),
            ("a*b*c", &["abc", "a-b-c", "abbcc", "abcbc"], &["acb", "ab", "abcd"]),
            ("a*a", &["aa", "aaa"], &["a"]),
            ("*.plugin_center", &["user.plugin_center"], &["user.plugin_center.x"]),
            ("持*", &["持续"], &["续持"]),
            ("a\nb*", &["a\nbc"], &[]),
        ] {
            let read = Pattern::new(pattern).unwrap();
            for text in fitting {
                assert!(read.matches(text), "{pattern} {text}");
            }
            for text in other {
                assert!(!read.matches(text), "{pattern} {text}");
            }
            assert_eq!(read.as_str(), pattern);
        }
    }

    #[test]
    fn may_match_below_known_directories() {
        let below =
            |pattern: &str, directory: &str| Pattern::of(pattern).may_match_below(directory);
        assert!(below("images-lists/*.list", "images-lists"));
        assert!(below("a/b/c.list", "a") && below("a/b/c.list", "a/b"));
        assert!(below("l/**/*.list", "l/more") && below("*.list", "any"));
        assert!(!below("images-lists/*.list", "addons") && !below("a/b.list", "a/b.list"));
        assert!(!below("a/b.list", "a/x"));
    }

    #[test]
    fn pattern_too_long_is_error() {
        assert!(Pattern::new(&"a".repeat(MAX_PATTERN_BYTES)).is_ok());
        let error = Pattern::new(&"a".repeat(MAX_PATTERN_BYTES + 1)).unwrap_err();
        assert_eq!(error.to_string(), "the pattern has 1025 bytes; at most 1024 are allowed");
    }

    #[test]
    fn pattern_of_stars_takes_linear_time() {
        let pattern = Pattern::of(&"*a".repeat(500));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(1 << 20))));
        assert!(pattern.matches(&"a".repeat(1 << 20)));
    }
}
