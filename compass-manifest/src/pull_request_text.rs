//! Writes the texts of a release pull request.

use crate::diff::{Difference, differences};
use crate::escape::{escape, quote_name};
use crate::image::ImageReference;
use crate::inventory::{Hotfix, Plugin, Product};
use crate::repository::{Document, PluginFile, ReleaseRepository};
use crate::review::{Queue, TargetOwners};

/// The texts of a release pull request, which [`Queue::evaluate`] accepts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct PullRequestText {
    /// The title.
    pub title: String,
    /// The body: the release note, and the commands of the first step.
    pub body: String,
    /// The comment that requests the second step: the images, and the command. Without a second
    /// step, only the images.
    pub comment: String,
}

/// What a pull request releases, for its release note.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReleaseChange {
    /// The target, such as `plugin gpu-manager`.
    pub target: String,
    /// The name of the plugin, addon or product.
    pub name: String,
    /// The version that is released.
    pub version: String,
    /// The version before; `None` if there is none, or it is not known.
    pub previous: Option<String>,
    /// The paths of the release manifests.
    pub paths: Vec<String>,
    /// The differences from the version before, except the fields that follow from the version.
    pub differences: Vec<Difference>,
}

/// The maximum number of differences of a target in the release note.
const MAX_DIFFERENCES: usize = 20;
/// The fields that follow from the version, which the release note names anyway.
const OF_VERSION: &[&str] = &["spec.version", "spec.service.image", "_config._metadata.version"];
/// The maximum number of targets in a title.
const MAX_NAMED: usize = 3;
/// The maximum number of owners of a target that are mentioned.
const MAX_OWNERS: usize = 5;

impl ReleaseChange {
    /// Describes the release of a plugin, compared with its manifest at a base, if that is known.
    pub fn of_plugin(
        plugin: &Plugin,
        version: &str,
        current: &ReleaseRepository,
        base: Option<&ReleaseRepository>,
    ) -> Self {
        let path = plugin.source.path();
        let is_own = |file: &&PluginFile| file.document.path() == path;
        let old = base.and_then(|base| base.plugins.iter().find(is_own));
        let new = current.plugins.iter().find(is_own);
        let previous = old.and_then(|old| old.manifest.version.as_ref());
        Self {
            previous: previous.map(|previous| previous.value.clone()),
            differences: compare(old.map(|file| &file.document), new.map(|file| &file.document)),
            ..Self::new("plugin", &plugin.name, version, vec![path.to_owned()])
        }
    }

    /// Describes a hotfix, compared with the addon that it patches. `hotfixes` are the files of one
    /// package.
    pub fn of_hotfix(
        hotfixes: &[Hotfix],
        addon: &str,
        version: &str,
        current: &ReleaseRepository,
    ) -> Self {
        let paths: Vec<_> = hotfixes.iter().map(|hotfix| hotfix.source.path().to_owned()).collect();
        let files =
            current.hotfixes.iter().filter(|file| paths.iter().any(|p| p == file.document.path()));
        let (mut found, mut previous) = (Vec::new(), None);
        for file in files {
            let addons = current.addons.iter().filter(|addon| !addon.overlay);
            let patched = addons.into_iter().find(|addon| addon.is_patched_by(file));
            let own = patched.and_then(|addon| addon.values.version.as_ref());
            previous = previous.or_else(|| own.map(|version| version.value.clone()));
            found.extend(compare(patched.map(|addon| &addon.document), Some(&file.document)));
        }
        let target = format!("hotfix {addon}-{version}");
        Self { target, previous, differences: found, ..Self::new("hotfix", addon, version, paths) }
    }

    /// Describes the release of a product.
    pub fn of_product(product: &Product, name: &str, version: &str) -> Self {
        let path = product.source.path().to_owned();
        let target = format!("product {version}");
        Self { target, ..Self::new("product", name, version, vec![path]) }
    }

    fn new(kind: &str, name: &str, version: &str, paths: Vec<String>) -> Self {
        let (name, version) = (escape(name).into_owned(), escape(version).into_owned());
        let target = format!("{kind} {name}");
        Self { target, name, version, previous: None, paths, differences: Vec::new() }
    }

    /// Returns the lines of the release note.
    fn note(&self) -> String {
        let previous = match &self.previous {
            Some(previous) if *previous != self.version => {
                format!(" (before: {})", inline(&quote_name(previous)))
            }
            _ => String::new(),
        };
        let mut text = format!("- {} {}{previous}\n", self.name, self.version);
        for Difference { path, old, new, .. } in self.differences.iter().take(MAX_DIFFERENCES) {
            let path = quote_name(path);
            let change = match (old, new) {
                (Some(old), Some(new)) => format!("{old} → {new}"),
                (None, Some(new)) => format!("new: {new}"),
                (Some(old), None) => format!("removed: {old}"),
                (None, None) => continue,
            };
            text.push_str(&format!("  - {}\n", inline(&format!("{path}: {change}"))));
        }
        let omitted = self.differences.len().saturating_sub(MAX_DIFFERENCES);
        if omitted > 0 {
            text.push_str(&format!("  - and {omitted} more\n"));
        }
        text
    }
}

impl PullRequestText {
    /// Writes the texts for the releases of one pull request.
    ///
    /// `note` is a text for the release note, before the differences. `images` are the references in
    /// the source registry.
    pub fn new(
        queue: &Queue,
        releases: &[ReleaseChange],
        owners: &[TargetOwners],
        images: &[ImageReference],
        note: Option<&str>,
    ) -> Self {
        let first = queue.steps_from(None).next().map(|step| step.to.as_str());
        let second = first.and_then(|label| queue.steps_from(Some(label)).next());
        let mut body = "**Release note**:\n\n".to_owned();
        if let Some(note) = note.map(str::trim).filter(|note| !note.is_empty()) {
            body.push_str(&format!("{note}\n\n"));
        }
        body.extend(releases.iter().map(ReleaseChange::note));
        body.push('\n');
        body.extend(queue.kinds().iter().take(1).map(|kind| format!("/kind {kind}\n")));
        body.extend(first.map(|label| format!("/queue {label}\n")));
        let people = people(queue, owners);
        if !people.is_empty() {
            body.push_str(&format!("/cc {}\n", people.join(" ")));
        }
        let mut comment = String::new();
        if !images.is_empty() {
            comment.push_str("image(s) pushed to\n");
            comment.extend(images.iter().map(|image| format!("{image}\n")));
        }
        comment.extend(second.map(|step| format!("/queue {}\n", step.to)));
        Self { title: title(releases), body, comment }
    }
}

/// Returns the accounts to mention, with `@`, the owners first.
fn people(queue: &Queue, owners: &[TargetOwners]) -> Vec<String> {
    let owners = owners.iter().flat_map(|owners| owners.accounts.iter().take(MAX_OWNERS));
    let mut people: Vec<String> = Vec::new();
    for login in owners.chain(queue.cc()) {
        let account = format!("@{login}");
        if !people.iter().any(|known| known.eq_ignore_ascii_case(&account)) {
            people.push(account);
        }
    }
    people
}

fn title(releases: &[ReleaseChange]) -> String {
    let named = releases.iter().take(MAX_NAMED);
    let names: Vec<_> = named.map(|one| format!("{} {}", one.name, one.version)).collect();
    match releases.len().saturating_sub(MAX_NAMED) {
        0 => format!("Release {}", names.join(", ")),
        more => format!("Release {} and {more} more", names.join(", ")),
    }
}

fn compare(old: Option<&Document>, new: Option<&Document>) -> Vec<Difference> {
    match (old.map(|document| &document.root), new.map(|document| &document.root)) {
        (Some(Ok(old)), Some(Ok(new))) => {
            let mut found = differences(old, new);
            found.retain(|difference| !OF_VERSION.contains(&difference.path.as_str()));
            found
        }
        _ => Vec::new(),
    }
}

/// Keeps a value from starting an HTML comment, which would hide the text after it.
fn inline(text: &str) -> String {
    text.replace("<!--", "<!- -")
}
