use regex::Regex;

use super::value::one_or_more;
use crate::yaml::Node;

/// A text in which `*` stands for any characters.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Takes a text in which `*` stands for any characters, also none.
    #[expect(clippy::missing_panics_doc, reason = "escaped text joined by `.*` is always a regex")]
    pub fn new(text: &str) -> Self {
        let parts: Vec<String> = text.split('*').map(regex::escape).collect();
        #[expect(clippy::expect_used, reason = "escaped text joined by `.*` is always a regex")]
        let regex = Regex::new(&format!("(?s)^{}$", parts.join(".*"))).expect("an escaped pattern");
        Self { text: text.to_owned(), regex }
    }

    /// Whether the whole of a text fits.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn list(node: &Node) -> Vec<Self> {
        one_or_more(node).iter().filter_map(Node::text).map(Self::new).collect()
    }
}
