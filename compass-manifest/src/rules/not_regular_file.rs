use crate::escape::quote_name;
use crate::finding::Severity;
use crate::policy::Pattern;
use crate::repository::{FileKind, ReleaseRepository};
use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::{SourceFile, Span};
use crate::tree::{EntryKind, below_any};

pub(crate) static RULE: Rule =
    Rule::new("not-regular-file", "the files of a release are regular files", apply)
        .with_blocks_packaging(BlocksPackaging::Always)
        .with_docs(RuleDocs {
            what: "\
Reports symbolic links, submodules, pipes and devices at the path of a manifest, an image list or
another file of a release, or of a directory of such files. They are not read: a link may point to
any file of the machine.

The rule also reports a file whose path is not UTF-8: no manifest can name it.

A link next to image lists, which may point to more lists, is a warning.",
            why: "The target of the link is neither checked nor packaged.",
            example: "`images-lists/current.list -> ../versions/v2.7.0.list`",
            fix: "Replace it by the file itself, or name the target of the link.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let obstacles = repository.tree.entries().filter(|(_, kind)| kind.is_obstacle());
    for (path, kind) in obstacles {
        let Some(severity) = severity(repository, path) else { continue };
        let message = format!("{} is {}, which is not read", quote_name(path), kind.describe());
        let help = match kind {
            EntryKind::Link => "replace it by the file itself, or name the target of the link",
            EntryKind::UndecodablePath => "rename the file",
            _ => "replace it by the files themselves",
        };
        sink.add(&SourceFile::new(path, ""), Span::default(), message, help).severity(severity);
    }
}

/// Returns the severity for an entry; `None` if the entry hides no release file.
fn severity(repository: &ReleaseRepository, path: &str) -> Option<Severity> {
    let policy = &repository.policy.products;
    match repository.kind_of(path) {
        // `file-misplaced` reports unexpected files, and a README is not released.
        FileKind::Unexpected | FileKind::Readme => return None,
        FileKind::Other => {}
        _ => return Some(Severity::Error),
    }
    let manifests = || repository.products.iter().map(|product| &product.manifest);
    let is_addon = below_any(path, &policy.addons).is_some()
        || policy.is_overlay(path)
        || manifests().any(|manifest| manifest.path_in_addons(path).is_some());
    let is_at_or_below = |named: &str| {
        named.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let directories =
        [&repository.policy.plugins.directories, &repository.policy.hotfixes.directories]
            .into_iter()
            .chain([&policy.directories, &policy.addons, &policy.overlays]);
    let is_directory = directories.flatten().any(|directory| is_at_or_below(directory))
        || manifests().any(|manifest| manifest.addons_directory().is_some_and(is_at_or_below));
    let is_packed =
        manifests().flat_map(|manifest| &manifest.files).filter_map(|file| file.source.as_ref());
    if is_addon || is_directory || is_packed.into_iter().any(|source| is_at_or_below(&source.value))
    {
        return Some(Severity::Error);
    }
    let own = [&policy.image_lists, &policy.descriptors, &policy.chart_lists];
    let lists = repository.products.iter().map(|product| &product.lists);
    let hides = |pattern: &Pattern| pattern.may_match_below(path);
    let hiding = own.into_iter().chain(lists).flatten().filter(|pattern| hides(pattern));
    // A link at or above the directory of a pattern hides all its matches.
    hiding
        .map(|pattern| match is_at_or_below(pattern.directory()) {
            true => Severity::Error,
            false => Severity::Warning,
        })
        .min()
}
