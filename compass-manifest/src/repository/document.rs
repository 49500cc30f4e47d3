use std::sync::OnceLock;

use crate::image_refs::{ImageUse, image_uses};
use crate::policy::Policy;
use crate::schema::{Schema, Table, Violation, infallible, validate};
use crate::source::{SourceFile, Span};
use crate::yaml::{self, Node, SyntaxError};

/// A text file of the release repository, parsed as YAML if its kind is YAML.
#[derive(Debug)]
#[non_exhaustive]
pub struct Document {
    /// The path and the text.
    pub source: SourceFile,
    /// The root of the YAML document; an error for a file of another kind.
    pub root: Result<Node, SyntaxError>,
    pub(crate) violations: Vec<Violation>,
    images: OnceLock<Vec<ImageUse>>,
}

impl Document {
    /// Parses YAML without a schema.
    pub(crate) fn read(path: &str, bytes: &[u8]) -> Self {
        let (source, root) = yaml::read(path, bytes);
        Self { source, root, violations: Vec::new(), images: OnceLock::new() }
    }

    /// Parses YAML, validates it with a table of fields, and reads the fields.
    pub(crate) fn read_fields<T: Default>(
        path: &str,
        bytes: &[u8],
        fields: &'static Table<T>,
    ) -> (Self, T) {
        let mut document = Self::read(path, bytes);
        let Ok(root) = &document.root else { return (document, T::default()) };
        document.violations = validate(root, Schema::Fields(fields));
        let value = infallible(fields.value(root));
        (document, value)
    }

    /// Decodes a text file that is not YAML, with U+FFFD for invalid bytes.
    pub(crate) fn read_text(path: &str, bytes: &[u8]) -> Self {
        Self::of_text(SourceFile::new(path, String::from_utf8_lossy(bytes)))
    }

    /// Wraps a text file that is not YAML.
    pub(crate) fn of_text(source: SourceFile) -> Self {
        let error = SyntaxError { message: String::new(), help: None, span: Span::default() };
        Self { source, root: Err(error), violations: Vec::new(), images: OnceLock::new() }
    }

    /// Returns the images that the document uses, in file order.
    ///
    /// Returns no images if the document cannot be parsed.
    ///
    /// The result is cached, because several rules need it. Callers must always pass the same
    /// policy.
    pub(crate) fn images(&self, policy: &Policy) -> &[ImageUse] {
        self.images.get_or_init(|| match &self.root {
            Ok(root) => image_uses(&self.source, root, policy),
            Err(_) => Vec::new(),
        })
    }

    /// Returns the path in the repository.
    pub fn path(&self) -> &str {
        self.source.path()
    }

    /// Returns whether two documents have equal values.
    ///
    /// If one of them cannot be parsed as YAML, their texts are compared.
    pub(crate) fn semantically_eq(&self, other: &Self) -> bool {
        match (&self.root, &other.root) {
            (Ok(one), Ok(two)) => one.semantically_eq(two),
            _ => self.source.text() == other.source.text(),
        }
    }
}
