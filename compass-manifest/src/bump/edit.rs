//! Scalars of a YAML text replaced in place.

use super::{BumpError, ChangedValue};
use crate::difference::differences;
use crate::finding::Place;
use crate::source::{SourceFile, Span};
use crate::yaml::{self, Kind, Node};

/// A file whose scalars are to be replaced.
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
            place: Place::new(source, error.span),
            message: error.message,
        })?;
        Ok(Self { source, root, edits: Vec::new() })
    }

    pub(super) fn missing(&self, path: &str) -> BumpError {
        BumpError::Missing { file: self.source.path().to_owned(), path: path.to_owned() }
    }

    pub(super) fn unusable(&self, span: Span, message: String) -> BumpError {
        BumpError::Unusable { place: Place::new(self.source, span), message }
    }

    /// Notes that the scalar at a place, with this text, becomes another.
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
        let inner = Self::inner(written, old).map_err(|form| BumpError::NotInPlace {
            place: Place::new(self.source, span),
            path: path.to_owned(),
            form,
        })?;
        let start = span.start + inner;
        let value =
            ChangedValue { path: path.to_owned(), old: old.to_owned(), new: new.to_owned() };
        self.edits.push(Edit { span: Span { start, end: start + old.len() }, value });
        Ok(())
    }

    /// Where the text of a scalar begins in what is written; otherwise how it is written.
    fn inner(written: &str, text: &str) -> Result<usize, &'static str> {
        let between = |quote| written.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if written == text {
            return Ok(0);
        }
        if written.starts_with('*') {
            return Err("an alias");
        }
        match ['\'', '"'].into_iter().find_map(between) {
            Some(quoted) if quoted == text => Ok(1),
            Some(_) => Err("a text with escapes or line breaks"),
            None => Err("a block, or a text of several lines"),
        }
    }

    /// The text with all replacements, and what they were.
    ///
    /// # Errors
    /// Where the outcome, read again, differs in anything else.
    pub(super) fn finish(mut self) -> Result<(String, Vec<ChangedValue>), BumpError> {
        self.edits.sort_by_key(|edit| edit.span);
        let old = self.source.text();
        let mut text = String::with_capacity(old.len() + 16 * self.edits.len());
        let mut copied = 0;
        for edit in &self.edits {
            // Two paths that lead to one place: an anchored collection and its alias.
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

    fn verify(&self, text: &str) -> Result<(), BumpError> {
        let new = yaml::parse(text).map_err(|error| BumpError::Syntax {
            place: Place::new(self.source, error.span),
            message: error.message,
        })?;
        // Duplicate keys differ from themselves.
        let noise = differences(&self.root, &self.root);
        let meant = |path: &str| self.edits.iter().any(|edit| edit.value.path == path);
        let else_changed = differences(&self.root, &new)
            .into_iter()
            .find(|found| !meant(&found.path) && noise.iter().all(|n| n.path != found.path));
        if let Some(found) = else_changed {
            return Err(self.else_changed(&found.path));
        }
        let unmet = self.edits.iter().find(|edit| {
            let node = at(&new, &edit.value.path);
            node.and_then(Node::text) != Some(&edit.value.new)
        });
        unmet.map_or(Ok(()), |edit| Err(self.else_changed(&edit.value.path)))
    }

    fn else_changed(&self, path: &str) -> BumpError {
        BumpError::ElseChanged { file: self.source.path().to_owned(), path: path.to_owned() }
    }
}

/// The node at a path as `spec.service.configs.envs[0].value`.
pub(super) fn at<'n>(root: &'n Node, path: &str) -> Option<&'n Node> {
    path.split('.').try_fold(root, |node, step| {
        let (key, index) = match step.strip_suffix(']').and_then(|step| step.split_once('[')) {
            Some((key, index)) => (key, Some(index.parse::<usize>().ok()?)),
            None => (step, None),
        };
        let value = node.get(key)?;
        match (index, &value.kind) {
            (Some(index), Kind::Sequence(items)) => items.get(index),
            (Some(_), _) => None,
            (None, _) => Some(value),
        }
    })
}

/// An image reference with another tag, template variables and all; without one it gets one.
pub(super) fn with_tag(reference: &str, tag: &str) -> String {
    let name = reference.rfind('/').map_or(0, |slash| slash + 1);
    let end = reference[name..].find(':').map_or(reference.len(), |colon| name + colon);
    format!("{}:{tag}", &reference[..end])
}
