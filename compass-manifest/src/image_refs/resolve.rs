//! What an image reference of a release manifest means.

use std::sync::Arc;

use super::{ImageUse, ResolvedImage};
use crate::escape::quote;
use crate::image::{ImageReference, is_digest, is_repository, is_tag};
use crate::policy::{Policy, TemplateValue};
use crate::product::ImageListEntry;

/// Reads a reference whose registry is a template variable or a host.
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

/// Reads the line of an image list: `project/name:tag`.
pub(crate) fn resolve_list_entry(line: &ImageListEntry, policy: &Policy) -> ImageUse {
    let projects = &policy.registries.projects;
    let image = match line.text.split_once('/') {
        Some((host, _)) if !projects.contains_key(host) && is_registry_host(host) => {
            Err(format!("{} is a registry, and a line begins with a project", quote(host)))
        }
        Some((project, rest)) => parse_in_project(project.to_owned(), rest),
        None => Err(format!("{} has no project", quote(&line.text))),
    };
    let written = line.text.clone();
    ImageUse { path: Arc::default(), written, span: line.span, is_field: true, image }
}

/// Whether the first part of a reference is a registry's host, as container tools have it.
pub(crate) fn is_registry_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn parse_in_project(project: String, rest: &str) -> Result<ResolvedImage, String> {
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
    // Docker Hub keeps images without a project in `library`.
    let is_hub = matches!(image.host(), "docker.io" | "index.docker.io" | "registry-1.docker.io");
    let of_host = if is_hub { "library" } else { "" };
    let (project, repository) =
        image.repository().split_once('/').unwrap_or((of_host, image.repository()));
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

    /// What an image is in the release registry, or why it is none.
    fn resolved(written: &str, templates: &str) -> Result<String, String> {
        let policy = policy(templates);
        Ok(resolve(written, &policy)?.release_reference(&policy))
    }

    #[test]
    fn image_below_host_has_no_project() {
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
        assert_eq!(
            source.source_reference(&Policy::default()),
            "cargo.caicloudprivatetest.com/pause:3.9"
        );
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
}
