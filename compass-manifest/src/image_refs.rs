//! Finds the images that release manifests use.
//!
//! Images are found in fields, arguments, environment values, and in JSON or YAML text inside
//! configuration values.

mod resolve;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use regex::Regex;

use crate::node_path::{NodePath, Step};
use crate::plugin::PluginManifest;
use crate::policy::{Policy, TemplateValue};
use crate::source::{SourceFile, Span};
use crate::yaml::{Node, NodeKind};

pub(crate) use resolve::{is_registry_host, resolve, resolve_list_entry};

/// A use of an image in a release manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageUse {
    /// The path of the field, such as `_config.controllers[0].containers[0].image`.
    pub path: Arc<str>,
    /// The reference as written.
    pub written: String,
    /// The span of the reference.
    pub span: Span,
    /// Whether the whole value is an image reference, for example under the key `image`.
    pub is_field: bool,
    /// The resolved image, or the reason why it cannot be resolved.
    pub image: Result<ResolvedImage, String>,
}

/// An image with its template variables replaced.
///
/// The project and the repository identify the image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct ResolvedImage {
    /// The registry host, if the reference has one instead of a template variable.
    pub host: Option<String>,
    /// The project, by its name in image lists; empty for an image directly below a host.
    pub project: String,
    /// The repository path in the project.
    pub repository: String,
    /// The tag, if the reference has one.
    pub tag: Option<String>,
    /// The digest, if the reference has one.
    pub digest: Option<String>,
}

impl ResolvedImage {
    /// Returns the line of an image list for this image: `project/name:tag`.
    pub fn list_entry(&self) -> String {
        self.path() + &self.version()
    }

    /// Returns the project and the repository.
    fn path(&self) -> String {
        match self.project.as_str() {
            "" => self.repository.clone(),
            project => format!("{project}/{}", self.repository),
        }
    }

    /// Returns the reference in the release registry.
    pub fn release_reference(&self, policy: &Policy) -> String {
        let version = self.version();
        match &self.host {
            Some(host) => format!("{host}/{}{version}", self.path()),
            None => {
                policy.registries.release_repository(&self.project, &self.repository) + &version
            }
        }
    }

    /// Returns the reference in the source registry.
    pub fn source_reference(&self, policy: &Policy) -> String {
        let release = self.release_reference(policy);
        let path = release.split_once('/').map_or("", |(_, path)| path);
        let repository = path.strip_suffix(&self.version()).unwrap_or(path);
        policy.registries.source_repository(repository) + &self.version()
    }

    /// Returns the tag and the digest, with their separators.
    fn version(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }
}

/// Returns the images that a document uses, in file order.
pub(crate) fn image_uses(source: &SourceFile, root: &Node, policy: &Policy) -> Vec<ImageUse> {
    let service = PluginManifest::read(root).image;
    let own_host = service.as_ref().and_then(|image| Some(image.value.split_once('/')?.0));
    let own_host = own_host.unwrap_or_default();
    let mut walk = Walk { source, policy, own_host, path: NodePath::default(), found: Vec::new() };
    walk.node(root, "");
    walk.found
}

/// Walks a document, and collects its images.
struct Walk<'w> {
    source: &'w SourceFile,
    policy: &'w Policy,
    /// The registry host of a plugin's own image.
    own_host: &'w str,
    path: NodePath<'w>,
    found: Vec<ImageUse>,
}

impl<'w> Walk<'w> {
    fn node(&mut self, node: &'w Node, key: &str) {
        match &node.kind {
            NodeKind::Scalar(_) if node.is_null() => {}
            NodeKind::Scalar(scalar) if key == "image" => self.field(&scalar.text, node.span),
            NodeKind::Scalar(scalar) => self.text(&scalar.text, node.span),
            NodeKind::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.below(Step::Item(index), |walk| walk.node(item, ""));
                }
            }
            NodeKind::Mapping(entries) => {
                for entry in entries {
                    let key = entry.key.text().unwrap_or_default();
                    let names_no_image = DESCRIPTIVE.contains(&key)
                        || key == "_metadata"
                        || (self.path.is_empty() && key == "metadata");
                    if !names_no_image {
                        self.below(Step::Key(key), |walk| walk.node(&entry.value, key));
                    }
                }
            }
        }
    }

    fn field(&mut self, text: &str, span: Span) {
        if !text.trim().is_empty() {
            let image = resolve(text, self.policy);
            self.add(&self.path.to_string().into(), text, span, true, image);
        }
    }

    fn text(&mut self, text: &str, span: Span) {
        // Skip the regular expression for most values, which contain no image.
        if !text.contains('/') || !text.contains(':') {
            return;
        }
        let (mut path, mut rest) = (None, Some(span));
        // JSON may contain `\/` for `/`.
        let text =
            if text.contains(r"\/") { Cow::Owned(text.replace(r"\/", "/")) } else { text.into() };
        for candidate in CANDIDATE.find_iter(&text) {
            let written = candidate.as_str().trim_end_matches(['.', '-', ':', '/']);
            let image = resolve(written, self.policy);
            if self.is_image(written, &image) {
                // If the source has escapes, the search fails once and is not repeated for each image.
                let found = rest.and_then(|rest| self.source.find(written, rest));
                rest = found.map(|found| Span { start: found.end, end: span.end });
                let path = path.get_or_insert_with(|| self.path.to_string().into());
                self.add(path, written, found.unwrap_or(span), false, image);
            }
        }
    }

    /// Returns whether a part of a text is an image.
    ///
    /// An image has a registry of the policy or the host of the plugin's own image, and a version.
    fn is_image(&self, written: &str, image: &Result<ResolvedImage, String>) -> bool {
        match image {
            Ok(image) => {
                let is_known = image.host.as_ref().is_none_or(|host| self.is_known(host));
                is_known && (image.tag.is_some() || image.digest.is_some())
            }
            // An image whose tag is a variable without a value cannot be resolved, but is an image.
            Err(_) => {
                let registry = written.strip_prefix("[[").and_then(|rest| rest.split_once("]]"));
                registry.is_some_and(|(name, rest)| {
                    let project = self.policy.templates.get(name.trim());
                    matches!(project, Some(TemplateValue::Project(_))) && rest.contains("[[")
                })
            }
        }
    }

    fn is_known(&self, host: &str) -> bool {
        let registries = &self.policy.registries;
        [registries.release_host(), registries.source_host(), self.own_host].contains(&host)
    }

    fn add(
        &mut self,
        path: &Arc<str>,
        written: &str,
        span: Span,
        is_field: bool,
        image: Result<ResolvedImage, String>,
    ) {
        let (path, written) = (Arc::clone(path), written.to_owned());
        self.found.push(ImageUse { path, written, span, is_field, image });
    }

    fn below(&mut self, step: Step<'w>, then: impl FnOnce(&mut Self)) {
        self.path.push(step);
        then(self);
        self.path.pop();
    }
}

/// The fields that contain text for people.
pub(crate) const DESCRIPTIVE: &[&str] = &["description", "note", "alias", "author"];

/// Matches a text that may be an image reference.
///
/// The text consists of a template variable or a host, a path, and optionally tag and digest.
#[expect(clippy::expect_used, reason = "a constant regular expression, which the tests use")]
static CANDIDATE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?:\[\[[ \t]*[A-Za-z_][A-Za-z0-9_.-]*[ \t]*\]\]|\b[A-Za-z0-9.-]+(?::[0-9]+)?)/[a-z0-9][a-z0-9._/-]*(?::(?:\[\[[ \t]*[A-Za-z_][A-Za-z0-9_.-]*[ \t]*\]\]|[A-Za-z0-9_.-]+))*(?:@sha256:[0-9a-f]{64})?",
    )
    .expect("the regular expression is valid")
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    /// Returns `path: reference` for each image of a document.
    ///
    /// The reference of an image that cannot be resolved is `!`.
    fn found(text: &str) -> Vec<String> {
        let (policy, source) = (Policy::default(), SourceFile::new("a.yaml", text));
        let uses = image_uses(&source, &parse(text).unwrap(), &policy);
        let shown = uses.iter().map(|used| match &used.image {
            Ok(image) => format!("{}: {}", used.path, image.release_reference(&policy)),
            Err(_) => format!("{}: !", used.path),
        });
        shown.collect()
    }

    #[test]
    fn image_uses_in_texts_are_found() {
        let release = "harbor.example/release";
        for (text, expected) in [
            (format!("a: '--image={release}/x:v1'"), format!("a: {release}/x:v1")),
            (format!(r#"a: '{{"image": "{release}/x:v1"}}'"#), format!("a: {release}/x:v1")),
            (
                format!(r#"a: '{{"image": "{}"}}'"#, format!("{release}/x:v1").replace('/', r"\/")),
                format!("a: {release}/x:v1"),
            ),
            (
                format!("a:\n- b.c: |\n    image: {release}/x:v1\n"),
                format!("a[0].b.c: {release}/x:v1"),
            ),
            (
                "a: '[[ registry_library ]]/x:v1'".to_owned(),
                "a: harbor.example/library/x:v1".to_owned(),
            ),
            ("a: '--x=[[ registry_release ]]/x:[[ unknown ]]'".to_owned(), "a: !".to_owned()),
            (
                "spec: {service: {image: h.x/r/g:v1, a: h.x/o/job:v1}}".to_owned(),
                "spec.service.a: h.x/o/job:v1".to_owned(),
            ),
        ] {
            let found = found(&text);
            assert!(found.contains(&expected), "{text}: {found:?}");
        }
        for text in [
            format!("description: {release}/x:v1\nspec: {{note: '{release}/x:v1'}}"),
            format!("metadata: {{labels: {{a: '{release}/x:v1'}}}}"),
            format!("a: {release}/x\nb: other.example/p/x:v1\nc: '[[ registry_release ]]'"),
            "image:\nimages: [{image: ~}, {image: ' '}, {image: ''}, {image: null}]".to_owned(),
        ] {
            assert_eq!(found(&text), Vec::<String>::new(), "{text}");
        }
    }
}
