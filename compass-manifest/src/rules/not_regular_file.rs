use crate::escape::quote_name;
use crate::finding::Severity;
use crate::policy::Pattern;
use crate::repository::{FileKind, ReleaseRepository};
use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext};
use crate::source::{SourceFile, Span};
use crate::tree::{EntryKind, below_any};

pub(crate) static RULE: Rule = Rule {
    code: "not-regular-file",
    summary: "what a release is made of are regular files",
    severity: Severity::Error,
    docs: "\
### What it does
Reports symbolic links, submodules, pipes and devices in the place of a manifest, an image list or
another file that a release is made of, and in the place of a directory of such files. They are not
read: a link may name any file of the machine that follows it.

A file whose path is not UTF-8 is reported as well: no manifest can name it.

A link beside image lists, behind which more of them may be, is a warning.

### Why is this bad?
Nothing behind it is checked, and nothing behind it is packaged.

### Example
`images-lists/current.list -> ../versions/v2.7.0.list`

### What to do
Put the file itself there, or name the file that the link leads to.
",
    apply,
    blocks_packaging: BlocksPackaging::Always,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    let obstacles = repository.tree.entries().filter(|(_, kind)| kind.is_obstacle());
    for (path, kind) in obstacles {
        let Some(severity) = severity(repository, path) else { continue };
        let message = format!("{} is {}, and is not read", quote_name(path), kind.describe());
        let help = match kind {
            EntryKind::Link => "put the file itself there, or name the file that the link leads to",
            EntryKind::UndecodablePath => "rename it",
            _ => "put the files themselves there",
        };
        sink.add(&SourceFile::new(path, ""), Span::default(), message, help).severity(severity);
    }
}

/// How much an entry weighs that is not read; `None` if nothing is missed.
fn severity(repository: &ReleaseRepository, path: &str) -> Option<Severity> {
    let policy = &repository.policy.products;
    match repository.kind_of(path) {
        // `file-misplaced` reports it.
        FileKind::Unexpected | FileKind::Readme => return None,
        FileKind::Other => {}
        _ => return Some(Severity::Error),
    }
    let manifests = || repository.products.iter().map(|product| &product.manifest);
    let is_addon = below_any(path, &policy.addons).is_some()
        || policy.is_overlay(path)
        || manifests().any(|manifest| manifest.path_in_addons(path).is_some());
    let leads_to = |named: &str| {
        named.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let directories =
        [&repository.policy.plugins.directories, &repository.policy.hotfixes.directories]
            .into_iter()
            .chain([&policy.directories, &policy.addons, &policy.overlays]);
    let is_directory = directories.flatten().any(|directory| leads_to(directory))
        || manifests().any(|manifest| manifest.addons_directory().is_some_and(leads_to));
    let is_packed =
        manifests().flat_map(|manifest| &manifest.files).filter_map(|file| file.source.as_ref());
    if is_addon || is_directory || is_packed.into_iter().any(|source| leads_to(&source.value)) {
        return Some(Severity::Error);
    }
    let own = [&policy.image_lists, &policy.descriptors, &policy.chart_lists];
    let lists = repository.products.iter().map(|product| &product.lists);
    let hides = |pattern: &Pattern| pattern.may_match_below(path);
    let hiding = own.into_iter().chain(lists).flatten().filter(|pattern| hides(pattern));
    // All that a pattern names is behind a link at or above its directory.
    hiding
        .map(|pattern| match leads_to(pattern.directory()) {
            true => Severity::Error,
            false => Severity::Warning,
        })
        .min()
}
