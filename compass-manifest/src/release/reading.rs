//! Reads the files of a repository, on as many processors as there are.

use std::num::NonZero;
use std::thread;

use super::document::Document;
use super::files::{AddonFile, HotfixFile, ListFile, PluginFile, ProductFile};
use super::kind::{self, Kind};
use crate::policy::Policy;
use crate::tree::Tree;

/// With fewer files another thread costs more than it gains.
const FILES_A_THREAD: usize = 256;

/// A file, read as what its place says it is.
pub(super) enum ReadFile {
    Plugin(PluginFile),
    Hotfix(HotfixFile),
    Addon(AddonFile),
    List(ListFile),
    Descriptor(Document),
    Charts(Document),
    Readme(Document),
    Stray(String),
}

/// Reads all files but product manifests, in the order of their paths.
pub(super) fn read_all(tree: &Tree, policy: &Policy, products: &[ProductFile]) -> Vec<ReadFile> {
    let paths: Vec<&str> = tree.paths().collect();
    let read = |paths: &[&str]| -> Vec<ReadFile> {
        paths.iter().filter_map(|path| read_file(path, tree, policy, products)).collect()
    };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = processors.min(paths.len() / FILES_A_THREAD).max(1);
    if threads == 1 {
        return read(&paths);
    }
    thread::scope(|scope| {
        let read = &read;
        let parts = paths.chunks(paths.len().div_ceil(threads));
        let workers: Vec<_> = parts.map(|part| scope.spawn(move || read(part))).collect();
        let results = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        results.flatten().collect()
    })
}

fn read_file(
    path: &str,
    tree: &Tree,
    policy: &Policy,
    products: &[ProductFile],
) -> Option<ReadFile> {
    let kind = kind::of(path, policy, products);
    let Some(bytes) = tree.get(path) else {
        return (kind == Kind::Stray).then(|| ReadFile::Stray(path.to_owned()));
    };
    Some(match kind {
        Kind::Plugin => ReadFile::Plugin(PluginFile::read(path, bytes)),
        Kind::Hotfix => ReadFile::Hotfix(HotfixFile::read(path, bytes, policy)),
        Kind::Addon { overlay } => ReadFile::Addon(AddonFile::read(path, bytes, overlay)),
        Kind::ImageList => ReadFile::List(ListFile::read(path, bytes)),
        Kind::Descriptor => ReadFile::Descriptor(Document::read(path, bytes, None)),
        Kind::ChartList => ReadFile::Charts(Document::read(path, bytes, None)),
        Kind::Readme => ReadFile::Readme(Document::read_text(path, bytes)),
        Kind::Stray => ReadFile::Stray(path.to_owned()),
        Kind::Product | Kind::Other => return None,
    })
}
