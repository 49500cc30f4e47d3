use std::sync::OnceLock;

use crate::image_refs::{ImageUse, image_uses};
use crate::policy::Policy;
use crate::schema::{self, Schema, Violation};
use crate::source::{SourceFile, Span};
use crate::yaml::{self, Node, SyntaxError};

/// A file of the release repository: its text, and what YAML makes of it.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) source: SourceFile,
    pub(crate) root: Result<Node, SyntaxError>,
    pub(crate) violations: Vec<Violation>,
    images: OnceLock<Vec<ImageUse>>,
}

impl Document {
    /// Reads YAML, and compares it with a shape.
    pub(crate) fn read(path: &str, bytes: &[u8], shape: Option<Schema>) -> Self {
        let (source, root) = yaml::read(path, bytes);
        let compared = root.as_ref().ok().zip(shape);
        let violations = compared.map(|(root, shape)| schema::compare(root, shape));
        Self { source, root, violations: violations.unwrap_or_default(), images: OnceLock::new() }
    }

    /// Reads a text that is no YAML.
    pub(crate) fn read_text(path: &str, bytes: &[u8]) -> Self {
        Self::of_text(SourceFile::new(path, String::from_utf8_lossy(bytes)))
    }

    /// A text file that is not YAML.
    pub(crate) fn of_text(source: SourceFile) -> Self {
        let error = SyntaxError { message: String::new(), help: None, span: Span::default() };
        Self { source, root: Err(error), violations: Vec::new(), images: OnceLock::new() }
    }

    /// The images that it uses, in order; none if it cannot be read. A document belongs to one
    /// repository with one policy, and several rules ask.
    pub(crate) fn images(&self, policy: &Policy) -> &[ImageUse] {
        self.images.get_or_init(|| match &self.root {
            Ok(root) => image_uses(&self.source, root, policy),
            Err(_) => Vec::new(),
        })
    }

    pub(crate) fn path(&self) -> &str {
        self.source.path()
    }

    /// Whether two documents mean the same; two that are not YAML do where their texts are equal.
    pub(crate) fn semantically_eq(&self, other: &Self) -> bool {
        match (&self.root, &other.root) {
            (Ok(one), Ok(two)) => one.semantically_eq(two),
            _ => self.source.text() == other.source.text(),
        }
    }
}
