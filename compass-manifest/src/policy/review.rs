use super::value::{Wrong, texts, wrong};
use crate::yaml::Node;

/// Who must know of a release, and what a release is labelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewPolicy {
    /// The accounts that must be told, each with its `@`.
    pub cc: Vec<String>,
    /// The kinds of pull request that are releases.
    pub kinds: Vec<String>,
}

impl Default for ReviewPolicy {
    fn default() -> Self {
        Self {
            cc: vec!["@supereagle".to_owned(), "@pendoragon".to_owned()],
            kinds: vec!["release".to_owned()],
        }
    }
}

impl ReviewPolicy {
    pub(super) fn read(&mut self, node: &Node) -> Result<(), Wrong> {
        if let Some(cc) = node.get("cc") {
            for account in cc.items() {
                let text = account.text().unwrap_or_default();
                if !text.starts_with('@') || text.len() == 1 {
                    return Err(wrong(
                        account,
                        format!("`{text}` is not an account"),
                        "write it with `@`, in quotes: \"@name\"",
                    ));
                }
            }
            self.cc = texts(cc);
        }
        if let Some(kinds) = node.get("kinds") {
            self.kinds = texts(kinds);
        }
        Ok(())
    }
}
