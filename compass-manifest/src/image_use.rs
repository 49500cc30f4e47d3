//! Where release manifests use images: fields, arguments, environment values, and JSON or YAML
//! text inside configuration values.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use regex::Regex;

use crate::escape::quote;
use crate::image::{ImageReference, is_digest, is_repository, is_tag};
use crate::path::{NodePath, Step};
use crate::policy::{Policy, TemplateValue};
use crate::product::ListedImage;
use crate::source::{SourceFile, Span};
use crate::yaml::{Kind, Node};

/// An image that a release manifest uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// Path of the field, as `_config.controllers[0].containers[0].image`.
    pub path: Arc<str>,
    /// The reference as it is written.
    pub written: String,
    /// Where it stands.
    pub span: Span,
    /// Whether the whole value is meant to be an image reference, as under the key `image`.
    pub is_field: bool,
    /// What is meant, or why that cannot be said.
    pub image: Result<UsedImage, String>,
}

/// An image by project and name, wherever its registry is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsedImage {
    /// The registry's host where it is written out; otherwise a template variable stands for it.
    pub host: Option<String>,
    /// The project, by the name that image lists use; empty for an image directly below a host.
    pub project: String,
    /// The repository path below the project.
    pub repository: String,
    /// The tag, where one is written.
    pub tag: Option<String>,
    /// The digest, where one is written.
    pub digest: Option<String>,
}

impl UsedImage {
    /// The image as image lists write it: `project/name:tag`.
    pub fn listed(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        format!("{}{tag}{digest}", self.path())
    }

    /// Project and repository.
    fn path(&self) -> String {
        match self.project.as_str() {
            "" => self.repository.clone(),
            project => format!("{project}/{}", self.repository),
        }
    }

    /// The reference in the release registry.
    pub fn release(&self, policy: &Policy) -> String {
        let version = self.version();
        match &self.host {
            Some(host) => format!("{host}/{}{version}", self.path()),
            None => policy.registries.release_of(&self.project, &self.repository) + &version,
        }
    }

    /// The reference in the source registry.
    pub fn source(&self, policy: &Policy) -> String {
        let release = self.release(policy);
        let path = release.split_once('/').map_or("", |(_, path)| path);
        let repository = path.strip_suffix(&self.version()).unwrap_or(path);
        policy.registries.source_of(repository) + &self.version()
    }

    fn version(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }
}

/// The images that a document uses, in order.
pub(crate) fn image_uses(source: &SourceFile, root: &Node, policy: &Policy) -> Vec<ImageUse> {
    let service = root.at(&["spec", "service", "image"]).and_then(Node::text);
    let own_host = service.and_then(|image| Some(image.split_once('/')?.0)).unwrap_or_default();
    let mut walk = Walk { source, policy, own_host, path: NodePath::default(), found: Vec::new() };
    walk.node(root, "");
    walk.found
}

struct Walk<'w> {
    source: &'w SourceFile,
    policy: &'w Policy,
    /// The registry of a plugin's own image.
    own_host: &'w str,
    path: NodePath<'w>,
    found: Vec<ImageUse>,
}

impl<'w> Walk<'w> {
    fn node(&mut self, node: &'w Node, key: &str) {
        match &node.kind {
            Kind::Scalar(_) if node.is_null() => {}
            Kind::Scalar(scalar) if key == "image" => self.field(&scalar.text, node.span),
            Kind::Scalar(scalar) => self.text(&scalar.text, node.span),
            Kind::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.below(Step::Item(index), |walk| walk.node(item, ""));
                }
            }
            Kind::Mapping(entries) => {
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
            let image = read(text, self.policy);
            self.add(&self.path.to_string().into(), (text, span), true, image);
        }
    }

    fn text(&mut self, text: &str, span: Span) {
        // Most values name no image; this spares them the expressions.
        if !text.contains('/') || !text.contains(':') {
            return;
        }
        let (mut path, mut behind) = (None, Some(span));
        // JSON may escape slashes.
        let text =
            if text.contains(r"\/") { Cow::Owned(text.replace(r"\/", "/")) } else { text.into() };
        for candidate in CANDIDATE.find_iter(&text) {
            let written = candidate.as_str().trim_end_matches(['.', '-', ':', '/']);
            let image = read(written, self.policy);
            if self.is_meant(written, &image) {
                // Text with escapes is not searched again for each image in it.
                let place = behind.and_then(|behind| self.place(written, behind));
                behind = place.map(|place| Span { start: place.end, end: span.end });
                let path = path.get_or_insert_with(|| self.path.to_string().into());
                self.add(path, (written, place.unwrap_or(span)), false, image);
            }
        }
    }

    /// Whether a part of a text is meant as an image: one of our registries, with a version.
    fn is_meant(&self, written: &str, image: &Result<UsedImage, String>) -> bool {
        match image {
            Ok(image) => {
                let is_ours = image.host.as_ref().is_none_or(|host| self.is_known(host));
                is_ours && (image.tag.is_some() || image.digest.is_some())
            }
            // A registry, a name, and a variable without a value in the place of the tag.
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

    /// Where a part of a scalar's text stands; what was escaped is not found.
    fn place(&self, part: &str, within: Span) -> Option<Span> {
        let start = within.start + self.source.text().get(within.range())?.find(part)?;
        Some(Span { start, end: start + part.len() })
    }

    fn add(
        &mut self,
        path: &Arc<str>,
        (text, span): (&str, Span),
        is_field: bool,
        image: Result<UsedImage, String>,
    ) {
        let (path, written) = (Arc::clone(path), text.to_owned());
        self.found.push(ImageUse { path, written, span, is_field, image });
    }

    fn below(&mut self, step: Step<'w>, then: impl FnOnce(&mut Self)) {
        self.path.push(step);
        then(self);
        self.path.pop();
    }
}

/// Fields whose text is for people.
pub(crate) const DESCRIPTIVE: &[&str] = &["description", "note", "alias", "author"];

/// A registry, as a template variable or a host, and what follows it without a blank.
#[expect(clippy::expect_used, reason = "a constant expression, which the tests use")]
static CANDIDATE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?:\[\[[ \t]*[A-Za-z_][A-Za-z0-9_.-]*[ \t]*\]\]|\b[A-Za-z0-9.-]+(?::[0-9]+)?)/[a-z0-9][a-z0-9._/-]*(?::(?:\[\[[ \t]*[A-Za-z_][A-Za-z0-9_.-]*[ \t]*\]\]|[A-Za-z0-9_.-]+))*(?:@sha256:[0-9a-f]{64})?",
    )
    .expect("an expression")
});

/// Reads a reference whose registry is a template variable or a host.
pub(crate) fn read(text: &str, policy: &Policy) -> Result<UsedImage, String> {
    let Some(rest) = text.strip_prefix("[[") else {
        return read_written_out(&policy.templates.fill(text)?);
    };
    let Some((name, rest)) = rest.split_once("]]") else {
        return Err("the template variable is not closed".to_owned());
    };
    let project = match policy.templates.get(name.trim()) {
        Some(TemplateValue::Project(project)) => project.clone(),
        _ => return read_written_out(&policy.templates.fill(text)?),
    };
    let rest = rest.strip_prefix('/').ok_or("a `/` must follow the registry")?;
    below_project(project, &policy.templates.fill(rest)?)
}

/// Reads the line of an image list: `project/name:tag`.
pub(crate) fn listed(line: &ListedImage, policy: &Policy) -> ImageUse {
    let projects = &policy.registries.projects;
    let image = match line.text.split_once('/') {
        Some((host, _)) if !projects.contains_key(host) && names_host(host) => {
            Err(format!("{} is a registry, and a line begins with a project", quote(host)))
        }
        Some((project, rest)) => below_project(project.to_owned(), rest),
        None => Err(format!("{} has no project", quote(&line.text))),
    };
    let written = line.text.clone();
    ImageUse { path: Arc::default(), written, span: line.span, is_field: true, image }
}

/// Whether the first part of a reference is a registry's host, as container tools have it.
pub(crate) fn names_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn below_project(project: String, rest: &str) -> Result<UsedImage, String> {
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (rest, None),
    };
    let (repository, tag) = match rest.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (rest, None),
    };
    if !is_repository(repository) {
        return Err(format!("{} is not a repository", quote(repository)));
    }
    if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
        return Err(format!("{} is not a tag", quote(tag)));
    }
    if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
        return Err(format!("{} is not a digest", quote(digest)));
    }
    Ok(UsedImage {
        host: None,
        project,
        repository: repository.to_owned(),
        tag: tag.map(str::to_owned),
        digest: digest.map(str::to_owned),
    })
}

fn read_written_out(text: &str) -> Result<UsedImage, String> {
    let image: ImageReference = text.parse().map_err(|error| format!("{error}"))?;
    // Docker Hub keeps images without a project in `library`.
    let of_host = if image.host() == "docker.io" { "library" } else { "" };
    let (project, repository) =
        image.repository().split_once('/').unwrap_or((of_host, image.repository()));
    Ok(UsedImage {
        host: Some(image.host().to_owned()),
        project: project.to_owned(),
        repository: repository.to_owned(),
        tag: image.tag().map(str::to_owned),
        digest: image.digest().map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn policy(text: &str) -> Policy {
        Policy::parse(&SourceFile::new(".compass.yaml", format!("version: 1\n{text}"))).unwrap()
    }

    /// What an image is in the release registry, or why it is none.
    fn resolved(written: &str, templates: &str) -> Result<String, String> {
        let policy = policy(templates);
        Ok(read(written, &policy)?.release(&policy))
    }

    /// `path: reference` of every image of a document, `!` for one that cannot be read.
    fn found(text: &str) -> Vec<String> {
        let (policy, source) = (Policy::default(), SourceFile::new("a.yaml", text));
        let uses = image_uses(&source, &parse(text).unwrap(), &policy);
        let shown = uses.iter().map(|used| match &used.image {
            Ok(image) => format!("{}: {}", used.path, image.release(&policy)),
            Err(_) => format!("{}: !", used.path),
        });
        shown.collect()
    }

    #[test]
    fn image_below_host_has_no_project() {
        for (written, release, listed) in [
            ("docker.io/nginx:1.25", "docker.io/library/nginx:1.25", "library/nginx:1.25"),
            ("docker.io/a/nginx:1.25", "docker.io/a/nginx:1.25", "a/nginx:1.25"),
            ("registry.example/pause:3.9", "registry.example/pause:3.9", "pause:3.9"),
            ("localhost:5000/web:v1", "localhost:5000/web:v1", "web:v1"),
        ] {
            let image = read(written, &Policy::default()).unwrap();
            assert_eq!(
                (image.release(&Policy::default()).as_str(), image.listed().as_str()),
                (release, listed)
            );
        }
        let source = read("registry.example/pause:3.9", &Policy::default()).unwrap();
        assert_eq!(source.source(&Policy::default()), "cargo.caicloudprivatetest.com/pause:3.9");
    }

    #[test]
    fn image_variables_need_values_of_policy() {
        let templates = "templates: {tag: v1.2.3, name: web, registry_x: harbor.x/p, site: ~}";
        for (written, release) in [
            ("[[ registry_release ]]/web:[[ tag ]]", "harbor.caicloud.xyz/release/web:v1.2.3"),
            ("[[ registry_release ]]/web:[[tag]]", "harbor.caicloud.xyz/release/web:v1.2.3"),
            (
                "[[ registry_release ]]/[[ name ]]-a:x-[[ tag ]]",
                "harbor.caicloud.xyz/release/web-a:x-v1.2.3",
            ),
            ("[[ registry_x ]]/web:[[ tag ]]", "harbor.x/p/web:v1.2.3"),
            ("harbor.y/p/web:[[ tag ]]", "harbor.y/p/web:v1.2.3"),
        ] {
            assert_eq!(resolved(written, templates).as_deref(), Ok(release), "{written}");
        }
        for (written, says) in [
            ("[[ registry_release ]]/web:[[ site ]]", "`site` is known on site only"),
            ("[[ registry_release ]]/web:[[ other ]]", "the policy does not know `other`"),
            ("[[ registry_release ]]/web:[[ tag ]", "`tag` is not closed"),
            ("[[ registry_release ]]/[[ registry_library ]]:v1", "stands for a registry"),
            ("[[ site ]]/web:v1", "`site` is known on site only"),
            ("[[ other ]]/web:v1", "the policy does not know `other`"),
            ("[[ registry_release ]]:v1", "a `/` must follow"),
        ] {
            let refused = resolved(written, templates).unwrap_err();
            assert!(refused.contains(says), "{written}: {refused}");
        }
    }

    #[test]
    fn images_in_texts_are_found() {
        let release = "harbor.caicloud.xyz/release";
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
                "a: harbor.caicloud.xyz/library/x:v1".to_owned(),
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
