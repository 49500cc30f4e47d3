//! Replaces scalars of a YAML text in place.

use super::{BumpError, ChangedValue};
use crate::diff::differences;
use crate::finding::Location;
use crate::source::{SourceFile, Span};
use crate::yaml::{self, Node};

/// Collects replacements of scalars, and applies them.
pub(super) struct Editor<'s> {
    source: &'s SourceFile,
    pub(super) root: Node,
    edits: Vec<Edit>,
}

struct Edit {
    span: Span,
    value: ChangedValue,
}

impl<'s> Editor<'s> {
    pub(super) fn new(source: &'s SourceFile) -> Result<Self, BumpError> {
        let root = yaml::parse(source.text()).map_err(|error| BumpError::Syntax {
            location: Location::new(source, error.span),
            message: error.message,
        })?;
        Ok(Self { source, root, edits: Vec::new() })
    }

    pub(super) fn missing(&self, path: &str) -> BumpError {
        BumpError::Missing { file: self.source.path().to_owned(), path: path.to_owned() }
    }

    pub(super) fn unusable(&self, span: Span, message: String) -> BumpError {
        BumpError::Unusable { location: Location::new(self.source, span), message }
    }

    pub(super) fn pinned(&self, path: &str, span: Span) -> BumpError {
        BumpError::Pinned { location: Location::new(self.source, span), path: path.to_owned() }
    }

    /// Adds a replacement of the scalar at a span, or of a part of a scalar.
    pub(super) fn replace(
        &mut self,
        path: &str,
        span: Span,
        old: &str,
        new: &str,
    ) -> Result<(), BumpError> {
        if old == new {
            return Ok(());
        }
        let written = self.source.text().get(span.range()).unwrap_or_default();
        let inner = Self::text_offset(written, old).map_err(|style| BumpError::NotInPlace {
            location: Location::new(self.source, span),
            path: path.to_owned(),
            style,
        })?;
        let start = span.start + inner;
        let value =
            ChangedValue { path: path.to_owned(), old: old.to_owned(), new: new.to_owned() };
        self.edits.push(Edit { span: Span { start, end: start + old.len() }, value });
        Ok(())
    }

    /// Returns the offset of a scalar's text in its source.
    ///
    /// # Errors
    /// Returns the style of the scalar if the text cannot be replaced in place.
    fn text_offset(written: &str, text: &str) -> Result<usize, &'static str> {
        let between = |quote| written.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if written == text {
            return Ok(0);
        }
        if written.starts_with('*') {
            return Err("an alias");
        }
        match ['\'', '"'].into_iter().find_map(between) {
            Some(quoted) if quoted == text => Ok(1),
            Some(_) => Err("a quoted text with escapes or line breaks"),
            None => Err("a block scalar, or a text of several lines"),
        }
    }

    /// Applies all replacements.
    ///
    /// # Errors
    /// Returns [`BumpError::ElseChanged`] if the result, parsed again, has any other difference.
    pub(super) fn finish(mut self) -> Result<(String, Vec<ChangedValue>), BumpError> {
        self.edits.sort_by_key(|edit| edit.span);
        let old = self.source.text();
        let mut text = String::with_capacity(old.len() + 16 * self.edits.len());
        let mut copied = 0;
        for edit in &self.edits {
            // Two paths have the same span: they are in an anchored collection and in its alias.
            if edit.span.start < copied {
                return Err(self.else_changed(&edit.value.path));
            }
            text.push_str(&old[copied..edit.span.start]);
            text.push_str(&edit.value.new);
            copied = edit.span.end;
        }
        text.push_str(&old[copied..]);
        self.verify(&text)?;
        Ok((text, self.edits.into_iter().map(|edit| edit.value).collect()))
    }

    /// Parses the result, and verifies that only the intended values differ.
    fn verify(&self, text: &str) -> Result<(), BumpError> {
        let new = yaml::parse(text).map_err(|error| BumpError::Syntax {
            location: Location::new(self.source, error.span),
            message: error.message,
        })?;
        // Ignore the differences of the document from itself, which duplicate keys cause.
        let self_differences = differences(&self.root, &self.root);
        let is_intended = |path: &str| self.edits.iter().any(|edit| edit.value.path == path);
        let else_changed = differences(&self.root, &new).into_iter().find(|found| {
            !is_intended(&found.path) && self_differences.iter().all(|one| one.path != found.path)
        });
        if let Some(found) = else_changed {
            return Err(self.else_changed(&found.path));
        }
        let missing = self.edits.iter().find(|edit| {
            let path = &edit.value.path;
            let found = at(&new, path).and_then(Node::text);
            found.is_none() || found.map(str::to_owned) != self.expected(path)
        });
        missing.map_or(Ok(()), |edit| Err(self.else_changed(&edit.value.path)))
    }

    /// Returns the text of a scalar with all its replacements.
    fn expected(&self, path: &str) -> Option<String> {
        let mut rest = at(&self.root, path)?.text()?;
        let mut expected = String::new();
        for edit in self.edits.iter().filter(|edit| edit.value.path == path) {
            let (before, after) = rest.split_once(&edit.value.old)?;
            expected.push_str(before);
            expected.push_str(&edit.value.new);
            rest = after;
        }
        Some(expected + rest)
    }

    fn else_changed(&self, path: &str) -> BumpError {
        BumpError::ElseChanged { file: self.source.path().to_owned(), path: path.to_owned() }
    }
}

/// Returns the node at a path, such as `spec.service.configs.envs[0].value`.
///
/// Keys may contain dots.
pub(super) fn at<'n>(node: &'n Node, path: &str) -> Option<&'n Node> {
    if path.is_empty() {
        return Some(node);
    }
    if let Some((index, rest)) = path.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return at(node.items().get(index.parse::<usize>().ok()?)?, rest);
    }
    let path = path.strip_prefix('.').unwrap_or(path);
    // Search in reverse, because the last of duplicate keys is used.
    node.entries().iter().rev().find_map(|entry| {
        let rest = path.strip_prefix(entry.key.text()?)?;
        let ends = rest.is_empty() || rest.starts_with(['.', '[']);
        ends.then(|| at(&entry.value, rest)).flatten()
    })
}

/// Returns an image reference with its tag replaced or added.
///
/// The reference may contain template variables.
pub(super) fn with_tag(reference: &str, tag: &str) -> String {
    let name = reference.rfind('/').map_or(0, |slash| slash + 1);
    let end = reference[name..].find(':').map_or(reference.len(), |colon| name + colon);
    format!("{}:{tag}", &reference[..end])
}
