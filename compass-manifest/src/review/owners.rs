//! Reads OWNERS files, and finds the owners of release manifests.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

use crate::escape::{escape, quote};
use crate::tree::Tree;
use crate::yaml::{self, Node};

/// The accounts that own a target of a pull request. One of them must be mentioned.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct TargetOwners {
    /// The target, such as `plugin gpu-manager`.
    pub target: String,
    /// Logins or `org/team`, without `@`; never empty.
    pub accounts: Vec<String>,
}

impl TargetOwners {
    /// Creates the owners of a target; `None` without accounts.
    pub fn new(target: impl Into<String>, accounts: Vec<String>) -> Option<Self> {
        (!accounts.is_empty()).then(|| Self { target: target.into(), accounts })
    }
}

/// The OWNERS files of a repository, in the format of Prow.
///
/// ```
/// use compass_manifest::review::Owners;
///
/// let owners = Owners::read([
///     ("OWNERS", &b"approvers: [root]\n"[..]),
///     ("release-plugins/OWNERS", b"filters:\n  ^gpu: {approvers: [gpu-team]}\n"),
///     ("OWNERS_ALIASES", b"aliases: {gpu-team: [alice, bob]}\n"),
/// ])?;
/// assert_eq!(owners.of("release-plugins/gpu-manager.yaml"), ["alice", "bob"]);
/// assert_eq!(owners.of("release-plugins/log-viewer.yaml"), ["root"]);
/// # Ok::<(), compass_manifest::review::OwnersError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Owners {
    /// The files by their directories; the root is empty.
    files: BTreeMap<String, OwnersFile>,
    /// The accounts of aliases, by their names in lower case.
    aliases: BTreeMap<String, Vec<String>>,
}

/// The error for an OWNERS file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {message}", escape(file))]
#[non_exhaustive]
pub struct OwnersError {
    /// The path of the file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The problem, in one line.
    pub message: String,
}

/// One file, with its entries for all files and for those that a filter matches.
#[derive(Debug, Clone, Default)]
struct OwnersFile {
    entries: Vec<Entry>,
    no_parent_owners: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    /// Matches paths below the directory of the file; `None` for all.
    filter: Option<Regex>,
    approvers: Vec<String>,
    reviewers: Vec<String>,
}

const FILE: &str = "OWNERS";
const ALIASES: &str = "OWNERS_ALIASES";
/// The maximum memory of a compiled filter in bytes.
const MAX_COMPILED_BYTES: usize = 512 << 10;

impl Owners {
    /// Returns the files of a tree that determine the owners of a path.
    pub fn files_for(tree: &Tree, path: &str) -> Vec<String> {
        let directories = directories_above(path);
        let files = directories.map(|directory| join(directory, FILE));
        files.chain([ALIASES.to_owned()]).filter(|file| tree.contains(file)).collect()
    }

    /// Reads OWNERS files and `OWNERS_ALIASES` by their paths. Other files are ignored.
    ///
    /// # Errors
    /// Returns an error if a file is not YAML, or if a filter or an account is invalid.
    pub fn read<'f>(
        files: impl IntoIterator<Item = (&'f str, &'f [u8])>,
    ) -> Result<Self, OwnersError> {
        let mut owners = Self::default();
        for (path, bytes) in files {
            let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
            match name {
                FILE => {
                    let file = Reader::open(path, bytes)?.owners_file()?;
                    owners.files.insert(directory.to_owned(), file);
                }
                ALIASES if directory.is_empty() => {
                    owners.aliases = Reader::open(path, bytes)?.aliases()?;
                }
                _ => {}
            }
        }
        Ok(owners)
    }

    /// Returns the owners of a file: the approvers in the nearest directory upwards that names any,
    /// otherwise the reviewers.
    pub fn of(&self, path: &str) -> Vec<String> {
        let approvers = self.nearest(path, |entry| &entry.approvers);
        match approvers.is_empty() {
            true => self.nearest(path, |entry| &entry.reviewers),
            false => approvers,
        }
    }

    fn nearest(&self, path: &str, accounts: fn(&Entry) -> &Vec<String>) -> Vec<String> {
        for directory in directories_above(path) {
            let Some(file) = self.files.get(directory) else { continue };
            let below = path[directory.len()..].trim_start_matches('/');
            let matching = file
                .entries
                .iter()
                .filter(|entry| entry.filter.as_ref().is_none_or(|filter| filter.is_match(below)));
            let named = matching.flat_map(accounts).flat_map(|account| self.members(account));
            let mut found: Vec<String> = Vec::new();
            for account in named {
                if !found.iter().any(|known| known.eq_ignore_ascii_case(&account)) {
                    found.push(account);
                }
            }
            if !found.is_empty() || file.no_parent_owners {
                return found;
            }
        }
        Vec::new()
    }

    /// Returns the accounts of an alias, or the account itself.
    fn members(&self, account: &str) -> Vec<String> {
        let members = self.aliases.get(&account.to_ascii_lowercase());
        members.cloned().unwrap_or_else(|| vec![account.to_owned()])
    }
}

/// Returns the directories above a path, the nearest first; the root is empty.
fn directories_above(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _)| at).collect::<Vec<_>>();
    ends.into_iter().rev().chain([0]).map(|end| &path[..end])
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// Reads one file.
struct Reader<'f> {
    source: crate::source::SourceFile,
    path: &'f str,
    root: Node,
}

impl<'f> Reader<'f> {
    fn open(path: &'f str, bytes: &[u8]) -> Result<Self, OwnersError> {
        let (source, root) = yaml::read(path, bytes);
        match root {
            Ok(root) => Ok(Self { source, path, root }),
            Err(error) => Err(OwnersError {
                file: path.to_owned(),
                line: source.position(error.span.start).line,
                message: error.message,
            }),
        }
    }

    fn error(&self, node: &Node, message: String) -> OwnersError {
        let line = self.source.position(node.span.start).line;
        OwnersError { file: self.path.to_owned(), line, message }
    }

    fn owners_file(&self) -> Result<OwnersFile, OwnersError> {
        let option = self.root.at(&["options", "no_parent_owners"]).and_then(Node::text);
        let mut entries = vec![self.entry(&self.root, None)?];
        for entry in self.root.get("filters").map(Node::entries).unwrap_or_default() {
            let text = entry.key.text().unwrap_or_default();
            let filter = RegexBuilder::new(text).size_limit(MAX_COMPILED_BYTES).build();
            let filter = filter.map_err(|_| {
                self.error(&entry.key, format!("{} is not a valid filter", quote(text)))
            })?;
            entries.push(self.entry(&entry.value, Some(filter))?);
        }
        Ok(OwnersFile { entries, no_parent_owners: option == Some("true") })
    }

    fn entry(&self, node: &Node, filter: Option<Regex>) -> Result<Entry, OwnersError> {
        let (approvers, reviewers) = (node.get("approvers"), node.get("reviewers"));
        Ok(Entry {
            filter,
            approvers: approvers.map_or(Ok(Vec::new()), |list| self.accounts(list))?,
            reviewers: reviewers.map_or(Ok(Vec::new()), |list| self.accounts(list))?,
        })
    }

    fn aliases(&self) -> Result<BTreeMap<String, Vec<String>>, OwnersError> {
        let aliases = self.root.get("aliases").map(Node::entries).unwrap_or_default();
        let alias = |entry: &yaml::Entry| {
            let name = entry.key.text().unwrap_or_default().to_ascii_lowercase();
            Ok((name, self.accounts(&entry.value)?))
        };
        aliases.iter().map(alias).collect()
    }

    /// Reads logins, with or without `@`. They become part of comments, so other texts are errors.
    fn accounts(&self, list: &Node) -> Result<Vec<String>, OwnersError> {
        let account = |node: &Node| {
            let text = node.text().unwrap_or_default();
            let login = text.trim_start_matches('@');
            let is_part = |part: &str| {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(plain)
            };
            match login.len() <= 100
                && login.split('/').count() <= 2
                && login.split('/').all(is_part)
            {
                true => Ok(login.to_owned()),
                false => Err(self.error(node, format!("{} is not an account", quote(text)))),
            }
        };
        list.items().iter().map(account).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(files: &[(&str, &str)]) -> Owners {
        Owners::read(files.iter().map(|(path, text)| (*path, text.as_bytes()))).unwrap()
    }

    #[test]
    fn owners_nearest_directory_wins() {
        let owners = owners(&[
            ("OWNERS", "approvers: [root]\nreviewers: [reader]\n"),
            ("a/OWNERS", "reviewers: [helper]\n"),
            ("a/b/OWNERS", "approvers: ['@near', NEAR, org/team]\n"),
        ]);
        for (path, expected) in [
            ("x.yaml", &["root"][..]),
            ("a/x.yaml", &["root"]),
            ("a/b/x.yaml", &["near", "org/team"]),
            ("a/b/c/d/x.yaml", &["near", "org/team"]),
            ("ab/x.yaml", &["root"]),
        ] {
            assert_eq!(owners.of(path), expected, "{path}");
        }
    }

    #[test]
    fn owners_filters_match_below_directory() {
        let owners = owners(&[
            ("OWNERS", "approvers: [root]\n"),
            (
                "p/OWNERS",
                "options: {no_parent_owners: true}\nfilters:\n  '^gpu-.*\\.yaml$': {approvers: [gpu]}\n  '^log': {reviewers: [log]}\n",
            ),
        ]);
        assert_eq!(owners.of("p/gpu-manager.yaml"), ["gpu"]);
        assert_eq!(owners.of("p/log-viewer.yaml"), ["log"]);
        assert_eq!(owners.of("p/x.yaml"), Vec::<String>::new());
        assert_eq!(owners.of("q/x.yaml"), ["root"]);
    }

    #[test]
    fn owners_invalid_files_are_errors() {
        for (text, line, expected) in [
            ("approvers: [\n", 2, ""),
            ("approvers:\n- ok\n- 'a\n\n  /queue done'\n", 3, "is not an account"),
            ("approvers: ['a b']\n", 1, "is not an account"),
            ("approvers: [a/b/c]\n", 1, "is not an account"),
            ("filters:\n  '(': {approvers: [a]}\n", 2, "is not a valid filter"),
            (
                "filters:\n  '((\\w{100}){100}){100}': {approvers: [a]}\n",
                2,
                "is not a valid filter",
            ),
        ] {
            let error = Owners::read([("x/OWNERS", text.as_bytes())]).unwrap_err();
            assert!(error.message.contains(expected), "{error}");
            assert!(error.line <= line && error.file == "x/OWNERS", "{error}");
        }
    }
}
