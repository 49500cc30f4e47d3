//! Reads the files of a repository, on as many processors as there are.

use super::document::Document;
use super::file_kind::FileKind;
use super::files::{AddonFile, HotfixFile, ListFile, PluginFile, ProductFile};
use crate::parallel;
use crate::policy::Policy;
use crate::tree::Tree;

/// How many files a thread takes at once: with fewer, another one costs more than it gains.
pub(super) const FILES_AT_ONCE: usize = 128;

/// A file, read as what its place says it is.
pub(super) enum ReadFile {
    Plugin(PluginFile),
    Hotfix(HotfixFile),
    Addon(AddonFile),
    List(ListFile),
    Descriptor(Document),
    Charts(Document),
    Readme(Document),
    Unexpected(String),
}

/// Reads all files of the wanted kinds but product manifests, in the order of their paths.
pub(super) fn read_all(
    tree: &Tree,
    policy: &Policy,
    products: &[ProductFile],
    is_wanted: impl Fn(FileKind) -> bool + Sync,
) -> Vec<ReadFile> {
    let paths: Vec<&str> = tree.paths().collect();
    let parts: Vec<&[&str]> = paths.chunks(FILES_AT_ONCE).collect();
    let read = |part: &&[&str]| -> Vec<ReadFile> {
        let kinds = part.iter().map(|path| (path, FileKind::of(path, policy, products)));
        let wanted = kinds.filter(|(_, kind)| is_wanted(*kind));
        wanted.filter_map(|(path, kind)| read_file(path, kind, tree, policy)).collect()
    };
    parallel::map(&parts, read).into_iter().flatten().collect()
}

fn read_file(path: &str, kind: FileKind, tree: &Tree, policy: &Policy) -> Option<ReadFile> {
    let Some(bytes) = tree.get(path) else {
        return (kind == FileKind::Unexpected).then(|| ReadFile::Unexpected(path.to_owned()));
    };
    Some(match kind {
        FileKind::Plugin => ReadFile::Plugin(PluginFile::read(path, bytes)),
        FileKind::Hotfix => ReadFile::Hotfix(HotfixFile::read(path, bytes, policy)),
        FileKind::Addon { overlay } => ReadFile::Addon(AddonFile::read(path, bytes, overlay)),
        FileKind::ImageList => ReadFile::List(ListFile::read(path, bytes)),
        FileKind::Descriptor => ReadFile::Descriptor(Document::read(path, bytes, None)),
        FileKind::ChartList => ReadFile::Charts(Document::read(path, bytes, None)),
        FileKind::Readme => ReadFile::Readme(Document::read_text(path, bytes)),
        FileKind::Unexpected => ReadFile::Unexpected(path.to_owned()),
        FileKind::Product | FileKind::Other => return None,
    })
}
