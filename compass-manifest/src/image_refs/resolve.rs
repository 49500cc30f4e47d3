//! Resolves image references of release manifests by the policy.

use std::sync::Arc;

use super::{ImageUse, ResolvedImage};
use crate::escape::quote;
use crate::image::{ImageReference, is_digest, is_repository, is_tag, split_suffix};
use crate::policy::{Policy, TemplateValue};
use crate::product::ImageListEntry;

/// Resolves a reference that begins with a template variable or a registry host.
pub(crate) fn resolve(text: &str, policy: &Policy) -> Result<ResolvedImage, String> {
    let Some(rest) = text.strip_prefix("[[") else {
        return parse_with_host(&policy.templates.fill(text)?);
    };
    let Some((name, rest)) = rest.split_once("]]") else {
        return Err("the template variable is not closed".to_owned());
    };
    let project = match policy.templates.get(name.trim()) {
        Some(TemplateValue::Project(project)) => project.clone(),
        _ => return parse_with_host(&policy.templates.fill(text)?),
    };
    let rest = rest.strip_prefix('/').ok_or("a `/` must follow the registry")?;
    parse_in_project(project, &policy.templates.fill(rest)?)
}

/// Resolves a line of an image list: `project/name:tag`.
pub(crate) fn resolve_list_entry(line: &ImageListEntry, policy: &Policy) -> ImageUse {
    let projects = &policy.registries.projects;
    let image = match line.text.split_once('/') {
        Some((host, _)) if !projects.contains_key(host) && is_registry_host(host) => {
            Err(format!("{} is a registry host, but a line begins with a project", quote(host)))
        }
        Some((project, rest)) => parse_in_project(project.to_owned(), rest),
        None => Err(format!("{} has no project", quote(&line.text))),
    };
    let written = line.text.clone();
    ImageUse { path: Arc::default(), written, span: line.span, is_field: true, image }
}

/// Returns whether the first part of a reference is a registry host.
///
/// A host contains a `.` or `:`, or is `localhost`, by the convention of container tools.
pub(crate) fn is_registry_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn parse_in_project(project: String, rest: &str) -> Result<ResolvedImage, String> {
    let (rest, digest) = split_suffix(rest, '@');
    let (repository, tag) = split_suffix(rest, ':');
    if !is_repository(repository) {
        return Err(format!("{} is not a repository", quote(repository)));
    }
    if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
        return Err(format!("{} is not a tag", quote(tag)));
    }
    if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
        return Err(format!("{} is not a digest", quote(digest)));
    }
    Ok(ResolvedImage {
        host: None,
        project,
        repository: repository.to_owned(),
        tag: tag.map(str::to_owned),
        digest: digest.map(str::to_owned),
    })
}

fn parse_with_host(text: &str) -> Result<ResolvedImage, String> {
    let image: ImageReference = text.parse().map_err(|error| format!("{error}"))?;
    // On Docker Hub, an image without a project belongs to `library`.
    let is_hub = matches!(image.host(), "docker.io" | "index.docker.io" | "registry-1.docker.io");
    let default_project = if is_hub { "library" } else { "" };
    let (project, repository) =
        image.repository().split_once('/').unwrap_or((default_project, image.repository()));
    Ok(ResolvedImage {
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
    use crate::source::SourceFile;

    fn policy(text: &str) -> Policy {
        Policy::parse(&SourceFile::new(".compass.yaml", format!("version: 1\n{text}"))).unwrap()
    }

    /// Returns the reference in the release registry, or the error.
    fn resolved(written: &str, templates: &str) -> Result<String, String> {
        let policy = policy(templates);
        Ok(resolve(written, &policy)?.release_reference(&policy))
    }

    #[test]
    fn resolve_image_without_project() {
        for (written, release, listed) in [
            ("docker.io/nginx:1.25", "docker.io/library/nginx:1.25", "library/nginx:1.25"),
            ("index.docker.io/a:1", "index.docker.io/library/a:1", "library/a:1"),
            ("docker.io/a/nginx:1.25", "docker.io/a/nginx:1.25", "a/nginx:1.25"),
            ("registry.example/pause:3.9", "registry.example/pause:3.9", "pause:3.9"),
            ("localhost:5000/web:v1", "localhost:5000/web:v1", "web:v1"),
        ] {
            let image = resolve(written, &Policy::default()).unwrap();
            assert_eq!(
                (image.release_reference(&Policy::default()).as_str(), image.list_entry().as_str()),
                (release, listed)
            );
        }
        let source = resolve("registry.example/pause:3.9", &Policy::default()).unwrap();
        assert_eq!(source.source_reference(&Policy::default()), "cargo.example/pause:3.9");
    }

    #[test]
    fn resolve_replaces_template_variables() {
        let templates = "templates: {tag: v1.2.3, name: web, registry_x: harbor.x/p, site: ~}";
        for (written, release) in [
            ("[[ registry_release ]]/web:[[ tag ]]", "harbor.example/release/web:v1.2.3"),
            ("[[ registry_release ]]/web:[[tag]]", "harbor.example/release/web:v1.2.3"),
            (
                "[[ registry_release ]]/[[ name ]]-a:x-[[ tag ]]",
                "harbor.example/release/web-a:x-v1.2.3",
            ),
            ("[[ registry_x ]]/web:[[ tag ]]", "harbor.x/p/web:v1.2.3"),
            ("harbor.y/p/web:[[ tag ]]", "harbor.y/p/web:v1.2.3"),
        ] {
            assert_eq!(resolved(written, templates).as_deref(), Ok(release), "{written}");
        }
        for (written, expected) in [
            ("[[ registry_release ]]/web:[[ site ]]", "the value of `site` is known only on site"),
            ("[[ registry_release ]]/web:[[ other ]]", "`other` is not in `templates`"),
            ("[[ registry_release ]]/web:[[ tag ]", "`tag` is not closed"),
            ("[[ registry_release ]]/[[ registry_library ]]:v1", "is a registry, which must be"),
            ("[[ site ]]/web:v1", "the value of `site` is known only on site"),
            ("[[ other ]]/web:v1", "`other` is not in `templates`"),
            ("[[ registry_release ]]:v1", "a `/` must follow"),
        ] {
            let refused = resolved(written, templates).unwrap_err();
            assert!(refused.contains(expected), "{written}: {refused}");
        }
    }
}
