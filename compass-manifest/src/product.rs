//! Product manifests, `release-products/<VERSION>.yaml`, and the image lists they name.

use crate::Tree;
use crate::policy::Pattern;
use crate::shape::{Field, Shape, optional, required};
use crate::source::{SourceFile, Span, Spanned};
use crate::tree::below;
use crate::yaml::Node;

/// A product manifest, as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProductManifest {
    /// `metadata.name`.
    pub name: Option<Spanned<String>>,
    /// `spec.version`.
    pub version: Option<Spanned<String>>,
    /// `spec.imageLists`: paths in the repository, where `*` is any text.
    pub image_lists: Vec<Spanned<String>>,
    /// `spec.addons`: the directory of the addons.
    pub addons: Option<Spanned<String>>,
    /// `spec.files`: what else comes along.
    pub files: Vec<ExtraFile>,
}

/// A file that a product's bundle carries as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtraFile {
    /// `source`: its path in the repository.
    pub source: Option<Spanned<String>>,
    /// `path`: its path in the bundle.
    pub path: Option<Spanned<String>>,
    /// `mode`, as `0755`.
    pub mode: Option<Spanned<String>>,
}

/// A line of an image list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedImage {
    /// The line without blanks at its ends.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl ProductManifest {
    /// The directory of the addons, without a slash at its end.
    pub fn addons_directory(&self) -> Option<&str> {
        self.addons.as_ref().map(|directory| directory.value.trim_end_matches('/'))
    }

    /// The part of a path below the directory of the addons, where it is in there.
    pub fn below_addons<'p>(&self, path: &'p str) -> Option<&'p str> {
        below(path, self.addons_directory()?)
    }

    /// What the manifest names and nobody finds in the repository: image lists, the directory of the
    /// addons, extra files; with the reason.
    pub fn absent(&self, tree: &Tree) -> Vec<(&Spanned<String>, &'static str)> {
        let any = |found: &dyn Fn(&str) -> bool| tree.paths().any(found);
        let lists = self.image_lists.iter().filter(|list| {
            let pattern = Pattern::new(&list.value);
            !any(&|path| pattern.matches(path))
        });
        let addons = self.addons.iter().filter(|_| !any(&|path| self.below_addons(path).is_some()));
        let files = self.files.iter().filter_map(|file| file.source.as_ref());
        let files = files.filter(|source| !tree.contains(&source.value));
        let lists = lists.map(|one| (one, "no image list has this path"));
        let addons = addons.map(|one| (one, "the directory of the addons is empty"));
        lists.chain(addons).chain(files.map(|one| (one, "there is no such file"))).collect()
    }

    /// Reads what can be read of a document.
    pub fn read(root: &Node) -> Self {
        let spec = root.get("spec");
        let list = |key| spec.and_then(|spec| spec.get(key)).map(Node::items).unwrap_or_default();
        Self {
            name: Node::spanned_text(root.at(&["metadata", "name"])),
            version: Node::spanned_text(root.at(&["spec", "version"])),
            image_lists: list("imageLists")
                .iter()
                .filter_map(|item| Node::spanned_text(Some(item)))
                .collect(),
            addons: Node::spanned_text(root.at(&["spec", "addons"])),
            files: list("files")
                .iter()
                .map(|file| ExtraFile {
                    source: Node::spanned_text(file.get("source")),
                    path: Node::spanned_text(file.get("path")),
                    mode: Node::spanned_text(file.get("mode")),
                })
                .collect(),
        }
    }
}

/// The lines of an image list that name images: those that are not empty, and no `#` comments.
pub fn listed_images(source: &SourceFile) -> Vec<ListedImage> {
    let mut start = 0;
    let mut images = Vec::new();
    for line in source.text().split_inclusive('\n') {
        let trimmed = line.trim();
        if !trimmed.is_empty() && !trimmed.starts_with('#') {
            let at = start + (line.len() - line.trim_start().len());
            let span = Span { start: at, end: at + trimmed.len() };
            images.push(ListedImage { text: trimmed.to_owned(), span });
        }
        start += line.len();
    }
    images
}

pub(crate) const SHAPE: Shape = Shape::Fields(&[
    required("metadata", Shape::Fields(METADATA)),
    required("spec", Shape::Fields(SPEC)),
]);

const METADATA: &[Field] = &[
    required("name", Shape::Text),
    optional("description", Shape::Text),
    optional("annotations", Shape::MapOf(&Shape::Text)),
];

const SPEC: &[Field] = &[
    required("version", Shape::Text),
    optional("imageLists", Shape::List(&Shape::Text)),
    optional("addons", Shape::Text),
    optional("files", Shape::List(&Shape::Fields(FILE))),
];

const FILE: &[Field] = &[
    required("source", Shape::Text),
    required("path", Shape::Text),
    optional("mode", Shape::Text),
];
