//! Reads product manifests, `release-products/<VERSION>.yaml`, and image lists.

use crate::policy::{MAX_PATTERNS, Pattern, PatternError};
use crate::schema::Schema::{Fields, List, MapOf, Text};
use crate::schema::{
    Table, Violation, ViolationKind, infallible, optional, required, required_group,
};
use crate::source::{SourceFile, Span, Spanned};
use crate::tree::below;
use crate::yaml::Node;

/// The fields of a product manifest.
///
/// Missing fields and fields of a wrong type are `None`; the rules report them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProductManifest {
    /// `metadata.name`.
    pub name: Option<Spanned<String>>,
    /// `spec.version`.
    pub version: Option<Spanned<String>>,
    /// `spec.imageLists`: patterns of paths in the repository.
    pub image_lists: Vec<Spanned<String>>,
    /// `spec.addons`: the directory of the addons.
    pub addons: Option<Spanned<String>>,
    /// `spec.files`: other files of the bundle.
    pub files: Vec<ExtraFile>,
}

/// A file that a product's bundle contains unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtraFile {
    /// `source`: the path in the repository.
    pub source: Option<Spanned<String>>,
    /// `path`: the path in the bundle.
    pub path: Option<Spanned<String>>,
    /// `mode`, such as `0755`.
    pub mode: Option<Spanned<String>>,
}

/// A line of an image list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageListEntry {
    /// The line without surrounding whitespace.
    pub text: String,
    /// The span in the list.
    pub span: Span,
}

impl ProductManifest {
    /// Returns the directory of the addons, without a trailing slash.
    pub fn addons_directory(&self) -> Option<&str> {
        self.addons.as_ref().map(|directory| directory.value.trim_end_matches('/'))
    }

    /// Returns the part of a path below the directory of the addons.
    ///
    /// Returns `None` if the path is not in the directory, or if the manifest names no directory.
    pub fn path_in_addons<'p>(&self, path: &'p str) -> Option<&'p str> {
        below(path, self.addons_directory()?)
    }

    /// Returns whether the product's package contains a file unchanged.
    pub(crate) fn packs(&self, path: &str) -> bool {
        self.path_in_addons(path).is_some()
            || self
                .files
                .iter()
                .filter_map(|file| file.source.as_ref())
                .any(|one| one.value == path)
    }

    /// Returns the span of the field that adds a file to the package.
    pub(crate) fn span_of(&self, path: &str) -> Span {
        let sources = self.files.iter().filter_map(|file| file.source.as_ref());
        let named =
            sources.into_iter().find(|source| source.value == path).or(self.addons.as_ref());
        named.map_or_else(Span::default, |named| named.span)
    }

    /// Parses the patterns of `spec.imageLists`, up to [`MAX_PATTERNS`].
    pub(crate) fn list_patterns(
        &self,
    ) -> impl Iterator<Item = (&Spanned<String>, Result<Pattern, PatternError>)> {
        self.image_lists.iter().take(MAX_PATTERNS).map(|list| (list, Pattern::new(&list.value)))
    }

    /// Returns a violation for each exceeded limit of `spec.imageLists`.
    pub(crate) fn limit_violations(&self) -> Vec<Violation> {
        let violation = |span, message: String, help: &str| Violation {
            kind: ViolationKind::WrongType,
            message,
            help: help.to_owned(),
            span,
        };
        let long = self.list_patterns().filter_map(|(list, pattern)| {
            let error = pattern.err()?;
            Some(violation(list.span, error.to_string(), "shorten it"))
        });
        let many = self.image_lists.get(MAX_PATTERNS).map(|list| {
            let count = self.image_lists.len();
            let message = format!("`spec.imageLists` names {count} lists");
            let help = format!("name at most {MAX_PATTERNS}: `*` matches any characters");
            violation(list.span, message, &help)
        });
        long.chain(many).collect()
    }

    /// Reads the fields of a document that have a valid type.
    pub fn read(root: &Node) -> Self {
        infallible(FIELDS.value(root))
    }
}

/// Returns the lines of an image list that are neither empty nor `#` comments.
///
/// Only ASCII whitespace is trimmed, because other tools read a no-break space as part of the tag.
pub(crate) fn parse_image_list(source: &SourceFile) -> Vec<ImageListEntry> {
    let mut start = 0;
    let mut images = Vec::new();
    for line in source.text().split_inclusive('\n') {
        let trimmed = line.trim_ascii();
        if !trimmed.is_empty() && !trimmed.starts_with('#') {
            let at = start + (line.len() - line.trim_ascii_start().len());
            let span = Span { start: at, end: at + trimmed.len() };
            images.push(ImageListEntry { text: trimmed.to_owned(), span });
        }
        start += line.len();
    }
    images
}

pub(crate) const FIELDS: Table<ProductManifest> =
    Table(&[required_group("metadata", &METADATA), required_group("spec", &SPEC)]);

const METADATA: Table<ProductManifest> = Table(&[
    required("name", Text).set(|it, node| it.name = node.spanned_text()),
    optional("description", Text),
    optional("annotations", MapOf(&Text)),
]);

const SPEC: Table<ProductManifest> = Table(&[
    required("version", Text).set(|it, node| it.version = node.spanned_text()),
    optional("imageLists", List(&Text)).set(|it, node| {
        it.image_lists = node.items().iter().filter_map(Node::spanned_text).collect();
    }),
    optional("addons", Text).set(|it, node| it.addons = node.spanned_text()),
    optional("files", List(&Fields(&FILE))).set(|it, node| it.files = infallible(FILE.items(node))),
]);

const FILE: Table<ExtraFile> = Table(&[
    required("source", Text).set(|it, node| it.source = node.spanned_text()),
    required("path", Text).set(|it, node| it.path = node.spanned_text()),
    optional("mode", Text).set(|it, node| it.mode = node.spanned_text()),
]);

#[cfg(test)]
mod tests {
    use crate::{Policy, check};

    #[test]
    fn product_hostile_lists_are_violations() {
        for (lists, expected) in [
            (format!("'{}*'", "a".repeat(1_000_000)), "at most 1024 are allowed"),
            ("'l/*.list', ".repeat(1_001), "names 1001 lists"),
        ] {
            let text = format!(
                "metadata: {{name: compass}}\nspec: {{version: v2.7.0, imageLists: [{lists}]}}\n"
            );
            let tree = [("release-products/v2.7.0.yaml", text.as_str()), ("l/a.list", "")];
            let report = check(&tree.into_iter().collect(), &Policy::default());
            let [finding] = report.findings() else { panic!("{:?}", report.findings()) };
            assert_eq!((finding.code, finding.location.start.line), ("wrong-type", 2));
            assert!(finding.message.contains(expected), "{}", finding.message);
        }
    }
}
