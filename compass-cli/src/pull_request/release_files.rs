//! The contents of the release files at a commit, as one digest.

use std::collections::BTreeMap;
use std::sync::Mutex;

use compass_manifest::{EntryKind, Policy};
use compass_registry::{Algorithm, Hasher};

use super::ReleaseSource;
use crate::error::Result;
use crate::forge::Forge;
use crate::git::kind_of_mode;

/// Computes digests of release files.
///
/// The digest is that of the files in release directories that differ between a commit and the commit
/// where its change began. So it stays the same if the branch is rebased, and if other files change.
pub(super) struct Reader<'r> {
    source: &'r ReleaseSource,
    forge: &'r dyn Forge,
    known: Mutex<BTreeMap<String, Option<String>>>,
}

/// The contents of files, by path.
type Objects = BTreeMap<String, String>;

impl<'r> Reader<'r> {
    pub(super) fn new(source: &'r ReleaseSource, forge: &'r dyn Forge) -> Self {
        Self { source, forge, known: Mutex::default() }
    }

    /// The digest at the head of the pull request.
    pub(super) fn head(&self) -> Result<String> {
        let clone = &self.source.clone;
        let (base, head) = (self.local(&clone.merge_base)?, self.local(&clone.head)?);
        Ok(digest(&base, &head, &self.source.repository.policy))
    }

    /// The digest at another commit; `None` if the commit does not exist any more.
    pub(super) async fn at(&self, commit: &str) -> Result<Option<String>> {
        if commit == self.source.clone.head {
            return self.head().map(Some);
        }
        let known = self.known.lock().ok().and_then(|known| known.get(commit).cloned());
        if let Some(known) = known {
            return Ok(known);
        }
        let found = match self.in_clone(commit)? {
            Some(digest) => Some(digest),
            None => self.on_forge(commit).await?,
        };
        if let Ok(mut known) = self.known.lock() {
            known.insert(commit.to_owned(), found.clone());
        }
        Ok(found)
    }

    /// The newest time of the commits of the pull request, in seconds since 1970.
    pub(super) fn newest_commit_time(&self) -> Result<i64> {
        let clone = &self.source.clone;
        clone.git.newest_commit_time(&clone.merge_base, &clone.head)
    }

    fn in_clone(&self, commit: &str) -> Result<Option<String>> {
        let clone = &self.source.clone;
        if !clone.git.has_commit(commit)? {
            return Ok(None);
        }
        let Ok(base) = clone.git.merge_base_of(&clone.base, commit) else { return Ok(None) };
        let (base, files) = (self.local(&base)?, self.local(commit)?);
        Ok(Some(digest(&base, &files, &self.source.repository.policy)))
    }

    /// Reads a commit that a forced push removed from the branch, which the forge keeps.
    async fn on_forge(&self, commit: &str) -> Result<Option<String>> {
        let clone = &self.source.clone;
        let Ok(base) = self.forge.merge_base(&clone.base, commit).await else { return Ok(None) };
        if !clone.git.has_commit(&base)? {
            return Ok(None);
        }
        let Ok(entries) = self.forge.tree(commit).await else { return Ok(None) };
        let prefix = clone.git.prefix();
        let files = entries.into_iter().filter_map(|entry| {
            let kind = kind_of_mode(&entry.mode)?;
            Some((entry.path.strip_prefix(prefix)?.to_owned(), content(kind, &entry.object)))
        });
        let policy = &self.source.repository.policy;
        Ok(Some(digest(&self.local(&base)?, &files.collect(), policy)))
    }

    fn local(&self, commit: &str) -> Result<Objects> {
        let entries = self.source.clone.git.entries(commit)?.into_iter();
        Ok(entries.map(|(path, entry)| (path, content(entry.kind, &entry.object))).collect())
    }
}

/// The content of an entry. A link to a path and a file with the same text are not equal.
fn content(kind: EntryKind, object: &str) -> String {
    match kind {
        EntryKind::File => object.to_owned(),
        EntryKind::Link => format!("link {object}"),
        _ => format!("submodule {object}"),
    }
}

/// The digest of the release files that differ from the base.
fn digest(base: &Objects, files: &Objects, policy: &Policy) -> String {
    let changes_product = |(path, object): &(&String, &String)| {
        below_any(path, &policy.products.directories) && base.get(*path) != Some(*object)
    };
    // The package of a product also has files that its pull request does not change.
    let has_product = files.iter().any(|file| changes_product(&file));
    let is_relevant = |path: &str| is_release_file(path, policy);
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut add = |path: &str, object: &str| {
        for part in [path, object] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    };
    for (path, object) in files.iter().filter(|(path, _)| is_relevant(path)) {
        if has_product || base.get(path) != Some(object) {
            add(path, object);
        }
    }
    for path in base.keys().filter(|path| is_relevant(path) && !files.contains_key(*path)) {
        add(path, "");
    }
    hasher.finish().hex()
}

fn is_release_file(path: &str, policy: &Policy) -> bool {
    let products = &policy.products;
    let directories = [
        &policy.plugins.directories,
        &policy.hotfixes.directories,
        &products.directories,
        &products.addons,
    ];
    directories.into_iter().any(|directories| below_any(path, directories))
        || products.image_lists.iter().any(|pattern| pattern.matches(path))
}

fn below_any(path: &str, directories: &[String]) -> bool {
    directories.iter().any(|directory| {
        path.strip_prefix(directory.as_str()).is_some_and(|rest| rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(files: &[(&str, &str)]) -> Objects {
        files.iter().map(|(path, object)| ((*path).to_owned(), (*object).to_owned())).collect()
    }

    #[test]
    fn digest_ignores_base_and_other_files() {
        let policy = Policy::default();
        let change = ("release-plugins/gpu.yaml", "2");
        let old = objects(&[("release-plugins/gpu.yaml", "1"), ("README.md", "1")]);
        let of = |base: &Objects, files: &[(&str, &str)]| digest(base, &objects(files), &policy);
        let first = of(&old, &[change, ("README.md", "1")]);
        assert_eq!(first, of(&old, &[change, ("README.md", "2")]));
        // A rebase on a base with another plugin.
        let other = ("release-plugins/log.yaml", "7");
        let newer = objects(&[("release-plugins/gpu.yaml", "1"), other]);
        assert_eq!(first, of(&newer, &[change, other]));
        assert_ne!(first, of(&old, &[("release-plugins/gpu.yaml", "3")]));
        assert_ne!(first, of(&old, &[change, ("release-plugins/log.yaml", "7")]));
        assert_ne!(first, of(&newer, &[change]));
    }

    #[test]
    fn digest_of_product_has_unchanged_files() {
        let policy = Policy::default();
        let product = ("release-products/v2.7.0.yaml", "1");
        let addon = |object| ("addons/default/web/values.yaml", object);
        let base = |object| objects(&[addon(object)]);
        let of = |object| digest(&base(object), &objects(&[product, addon(object)]), &policy);
        assert_ne!(of("1"), of("2"));
    }
}
