//! Parses the files of a repository on all processors.

use super::document::Document;
use super::file_kind::FileKind;
use super::files::{AddonFile, HotfixFile, ListFile, PluginFile, ProductFile};
use crate::parallel;
use crate::policy::Policy;
use crate::tree::Tree;

/// The number of files that a thread parses at a time.
///
/// For fewer files, a thread costs more than it saves.
pub(super) const FILES_PER_CHUNK: usize = 128;

/// A parsed file of one kind.
pub(super) enum LoadedFile {
    Plugin(PluginFile),
    Hotfix(HotfixFile),
    Addon(AddonFile),
    List(ListFile),
    Descriptor(Document),
    Charts(Document),
    Readme(Document),
    Unexpected(String),
}

/// Parses all files except product manifests, in the order of their paths.
pub(super) fn load_all(tree: &Tree, policy: &Policy, products: &[ProductFile]) -> Vec<LoadedFile> {
    let paths: Vec<&str> = tree.paths().collect();
    let chunks: Vec<&[&str]> = paths.chunks(FILES_PER_CHUNK).collect();
    let load_chunk = |chunk: &&[&str]| -> Vec<LoadedFile> {
        let kinds = chunk.iter().map(|path| (path, FileKind::of(path, policy, products)));
        kinds.filter_map(|(path, kind)| load_file(path, kind, tree, policy)).collect()
    };
    parallel::map(&chunks, load_chunk).into_iter().flatten().collect()
}

fn load_file(path: &str, kind: FileKind, tree: &Tree, policy: &Policy) -> Option<LoadedFile> {
    if kind == FileKind::Unexpected {
        return Some(LoadedFile::Unexpected(path.to_owned()));
    }
    let bytes = tree.get(path)?;
    Some(match kind {
        FileKind::Plugin => LoadedFile::Plugin(PluginFile::read(path, bytes)),
        FileKind::Hotfix => LoadedFile::Hotfix(HotfixFile::read(path, bytes, policy)),
        FileKind::Addon { overlay } => LoadedFile::Addon(AddonFile::read(path, bytes, overlay)),
        FileKind::ImageList => LoadedFile::List(ListFile::read(path, bytes)),
        FileKind::Descriptor => LoadedFile::Descriptor(Document::read(path, bytes)),
        FileKind::ChartList => LoadedFile::Charts(Document::read(path, bytes)),
        FileKind::Readme => LoadedFile::Readme(Document::read_text(path, bytes)),
        FileKind::Product | FileKind::Unexpected | FileKind::Other => return None,
    })
}
