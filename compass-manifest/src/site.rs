//! Renders release manifests for the registry and the variables of a site.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::finding::Location;
use crate::image_refs::DESCRIPTIVE;
use crate::source::{SourceFile, Span};
use crate::template::variables;
use crate::yaml::{self, Node, NotRewritable};

/// The values that differ from site to site: template variables, and the references of images.
///
/// ```
/// use compass_manifest::site::SiteValues;
/// use compass_manifest::source::SourceFile;
///
/// let site = SiteValues::default().variable("registry_release", "registry.site:5000/release");
/// let file = SourceFile::new("values.yaml", "image: '[[ registry_release ]]/web:v1' # why\n");
/// let rendered = site.render(&file).unwrap();
/// assert_eq!(rendered.text, "image: 'registry.site:5000/release/web:v1' # why\n");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteValues {
    variables: BTreeMap<String, String>,
    images: BTreeMap<String, String>,
    keeps_unset: bool,
}

/// A rendered release manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenderedManifest {
    /// The text of the file.
    pub text: String,
    /// The names of the variables that the file uses, sorted.
    pub variables: Vec<String>,
}

/// A use of a template variable that cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnsetVariable {
    /// The name.
    pub name: String,
    /// The location of the use.
    pub location: Location,
    /// Whether the brackets are closed. If not, no value helps.
    pub is_closed: bool,
}

/// The error for a release manifest that cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SiteError {
    /// The file is not YAML.
    #[error("{location}: {message}")]
    Syntax {
        /// The location of the problem.
        location: Location,
        /// The problem.
        message: String,
    },
    /// Variables have no value.
    #[error("{}: `{}` has no value", .0[0].location, .0[0].name)]
    UnsetVariables(Vec<UnsetVariable>),
    /// A text cannot be replaced without changing something else.
    #[error("{location}: cannot replace the text here without changing other values")]
    NotReplaceable {
        /// The location of the text.
        location: Location,
    },
}

impl SiteValues {
    /// Sets the value of a template variable.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Replaces an image reference by the reference at the site, wherever it occurs in a value.
    ///
    /// References are compared as texts, after variables are filled in.
    #[must_use]
    pub fn image(mut self, reference: impl Into<String>, at_site: impl Into<String>) -> Self {
        self.images.insert(reference.into(), at_site.into());
        self
    }

    /// Makes [`Self::render`] leave variables without a value as they are, instead of refusing them.
    #[must_use]
    pub fn keep_unset(self) -> Self {
        Self { keeps_unset: true, ..self }
    }

    /// Lists the uses of variables without a value, in the order of the file.
    ///
    /// # Errors
    /// [`SiteError::Syntax`] if the file is not YAML.
    pub fn unset_variables(&self, file: &SourceFile) -> Result<Vec<UnsetVariable>, SiteError> {
        Ok(self.unset(file, &parse(file)?))
    }

    /// Fills in variables and image references.
    ///
    /// Only scalars change, keys included; comments, order and quoting of everything else stay. Whatever a
    /// value contains, the result is YAML in which the scalar has exactly that text. Variables
    /// inside of values are not filled in.
    ///
    /// # Errors
    /// [`SiteError::UnsetVariables`] with all variables that have no value, and the other kinds of
    /// [`SiteError`].
    pub fn render(&self, file: &SourceFile) -> Result<RenderedManifest, SiteError> {
        let root = parse(file)?;
        let unset = self.unset(file, &root);
        if !unset.is_empty() && !self.keeps_unset {
            return Err(SiteError::UnsetVariables(unset));
        }
        let new_text = |text: &str, key: Option<&str>| self.new_text(text, key);
        let text =
            yaml::rewrite(file.text(), &root, &new_text).map_err(|NotRewritable { span }| {
                SiteError::NotReplaceable { location: Location::new(file, span) }
            })?;
        let mut variables: Vec<_> =
            uses(file, &root).into_iter().map(|(name, _, _)| name.to_owned()).collect();
        variables.sort_unstable();
        variables.dedup();
        Ok(RenderedManifest { text, variables })
    }

    fn unset(&self, file: &SourceFile, root: &Node) -> Vec<UnsetVariable> {
        let unset = uses(file, root)
            .into_iter()
            .filter(|(name, _, is_closed)| !is_closed || !self.variables.contains_key(*name));
        let unset = unset.map(|(name, span, is_closed)| UnsetVariable {
            name: name.to_owned(),
            location: Location::new(file, span),
            is_closed,
        });
        unset.collect()
    }

    fn new_text(&self, text: &str, key: Option<&str>) -> Option<String> {
        let filled = self.fill(text);
        let describes = key.is_some_and(|key| DESCRIPTIVE.contains(&key));
        let new = if describes { filled } else { self.replace_images(filled) };
        match new {
            Cow::Owned(new) => Some(new),
            Cow::Borrowed(_) => None,
        }
    }

    fn fill<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let (mut filled, mut copied) = (String::new(), 0);
        for variable in variables(text) {
            if let Some(value) = self.variables.get(variable.name) {
                filled.push_str(&text[copied..variable.start]);
                filled.push_str(value);
                copied = variable.end;
            }
        }
        match copied {
            0 => Cow::Borrowed(text),
            _ => Cow::Owned(filled + &text[copied..]),
        }
    }

    fn replace_images<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        let (mut replaced, mut copied) = (String::new(), 0);
        while let Some((start, old, new)) = self.first_image(&text, copied) {
            replaced.push_str(&text[copied..start]);
            replaced.push_str(new);
            copied = start + old.len();
        }
        match copied {
            0 => text,
            _ => Cow::Owned(replaced + &text[copied..]),
        }
    }

    /// Returns the first image reference from an offset on: its offset, itself and its replacement.
    fn first_image<'s>(&'s self, text: &str, from: usize) -> Option<(usize, &'s str, &'s str)> {
        let first = |(old, new): (&'s String, &'s String)| {
            let mut found = text[from..].match_indices(old.as_str());
            let whole = found.find(|(at, _)| is_whole(text, from + at, old.len()))?;
            Some((from + whole.0, old.as_str(), new.as_str()))
        };
        self.images
            .iter()
            .filter(|(old, _)| !old.is_empty())
            .filter_map(first)
            .min_by_key(|found| found.0)
    }
}

/// Returns whether a match is a whole reference. A longer reference may contain the text.
fn is_whole(text: &str, start: usize, len: usize) -> bool {
    let continues = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '@');
    let (before, mut after) = (&text[..start], text[start + len..].chars());
    let begins = match before.strip_suffix('/') {
        Some(before) => before.ends_with(":/"),
        None => !before.ends_with(continues),
    };
    let ends = match after.next() {
        // At the end, these belong to the sentence around the reference.
        Some('.' | ':' | '-') => !after.next().is_some_and(|c| c.is_ascii_alphanumeric()),
        next => !next.is_some_and(|c| continues(c) || c == '/'),
    };
    begins && ends
}

fn parse(file: &SourceFile) -> Result<Node, SiteError> {
    yaml::parse(file.text()).map_err(|error| SiteError::Syntax {
        location: Location::new(file, error.span),
        message: error.message,
    })
}

/// Lists the uses of variables in the scalars of a document: name, span, and whether the use is
/// closed.
fn uses<'n>(file: &SourceFile, root: &'n Node) -> Vec<(&'n str, Span, bool)> {
    let mut found = Vec::new();
    collect(file, root, &mut found);
    found.sort_by_key(|(_, span, _)| *span);
    found.dedup();
    found
}

fn collect<'n>(file: &SourceFile, node: &'n Node, found: &mut Vec<(&'n str, Span, bool)>) {
    let raw = file.text().get(node.span.range()).unwrap_or_default();
    if raw.starts_with('*') {
        return;
    }
    if let Some(name) = node.unquoted_template() {
        found.push((name, node.span, true));
        return;
    }
    if let Some(text) = node.text() {
        // A scalar with escapes has no position for each variable.
        let mut written = variables(raw);
        found.extend(variables(text).map(|variable| {
            let same = written.next().filter(|one| one.name == variable.name);
            let span = same.map_or(node.span, |one| Span {
                start: node.span.start + one.start,
                end: node.span.start + one.end,
            });
            let is_closed = text[..variable.end].ends_with("]]");
            (variable.name, span, is_closed)
        }));
    }
    for entry in node.entries() {
        collect(file, &entry.key, found);
        collect(file, &entry.value, found);
    }
    node.items().iter().for_each(|item| collect(file, item, found));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(site: &SiteValues, text: &str) -> Result<String, SiteError> {
        site.render(&SourceFile::new("a.yaml", text)).map(|rendered| rendered.text)
    }

    #[test]
    fn render_unset_variables_are_all_listed() {
        let file =
            SourceFile::new("a.yaml", "a: '[[ x ]]'\nb: |\n  [[ y ]\n  [[ z ]]\n# [[ c ]]\n");
        let Err(SiteError::UnsetVariables(unset)) =
            SiteValues::default().variable("z", "").render(&file)
        else {
            panic!("not refused")
        };
        let shown: Vec<_> = unset
            .iter()
            .map(|one| (one.name.as_str(), one.location.start.line, one.is_closed))
            .collect();
        assert_eq!(shown, [("x", 1, true), ("y", 3, false)]);
    }

    #[test]
    fn render_values_are_filled_in_once() {
        let site = SiteValues::default().variable("a", "[[ b ]]").variable("b", "1");
        assert_eq!(render(&site, "k: '[[ a ]][[b]]'\n").unwrap(), "k: '[[ b ]]1'\n");
    }

    #[test]
    fn render_keep_unset_leaves_other_variables() {
        let site = SiteValues::default().variable("a", "1").keep_unset();
        assert_eq!(render(&site, "k: '[[ a ]] [[b]] [[ c'\n").unwrap(), "k: '1 [[b]] [[ c'\n");
    }

    #[test]
    fn render_image_references_are_replaced_whole() {
        let site = SiteValues::default().image("r.example/p/a:v1", "site/a:v1");
        let text = "image: r.example/p/a:v1\n\
                    args: ['--x=r.example/p/a:v1,https://r.example/p/a:v1']\n\
                    other: [r.example/p/a:v1.2, r.example/p/a:v1@sha256:0, x.r.example/p/a:v1]\n\
                    description: from r.example/p/a:v1\n";
        let expected = "image: site/a:v1\n\
                    args: ['--x=site/a:v1,https://site/a:v1']\n\
                    other: [r.example/p/a:v1.2, r.example/p/a:v1@sha256:0, x.r.example/p/a:v1]\n\
                    description: from r.example/p/a:v1\n";
        assert_eq!(render(&site, text).unwrap(), expected);
    }

    #[test]
    fn render_filled_key_equals_other_is_refused() {
        let site = SiteValues::default().variable("a", "k");
        let refused = render(&site, "k: 1\n'[[ a ]]': 2\n").unwrap_err();
        assert!(matches!(refused, SiteError::NotReplaceable { .. }));
    }
}
