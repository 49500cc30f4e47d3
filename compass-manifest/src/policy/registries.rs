use std::collections::BTreeMap;

use super::value::{ValueError, flag, text, value_error};
use crate::escape::quote;
use crate::image::{ImageReference, is_repository};
use crate::schema::Schema::{Boolean, Fields, MapOf, Text};
use crate::schema::{Table, optional, required};
use crate::yaml::Node;

/// The registries of a release.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Registries {
    /// The registry to which developers push images: `HOST/PROJECT`.
    pub source: String,
    /// The registry of the releases: `HOST/PROJECT`.
    pub release: String,
    /// The projects, by their name in image lists and templates.
    pub projects: BTreeMap<String, Project>,
    /// The connection settings, by registry host.
    pub hosts: BTreeMap<String, Host>,
}

/// The names of a project in the two registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Project {
    /// The name in the source registry.
    pub source: String,
    /// The name in the release registry.
    pub release: String,
}

/// The connection settings of a registry host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Host {
    /// Whether the host is contacted without TLS.
    pub plain_http: bool,
    /// The file with the trusted certificates of this host, relative to the policy.
    pub ca: Option<String>,
    /// The file with the client certificate for this host, relative to the policy; may contain the
    /// key.
    pub certificate: Option<String>,
    /// The file with the key of the client certificate, relative to the policy.
    pub key: Option<String>,
}

/// Names hosts of the domain `example`, which is reserved for documentation (RFC 2606).
impl Default for Registries {
    fn default() -> Self {
        Self::new("cargo.example/source", "harbor.example/release")
    }
}

impl Project {
    /// Creates a project with its names in the source and the release registry.
    pub fn new(source: impl Into<String>, release: impl Into<String>) -> Self {
        Self { source: source.into(), release: release.into() }
    }
}

impl Registries {
    /// Creates the registries `HOST/PROJECT`, with the projects `release` and `library`.
    pub fn new(source: impl Into<String>, release: impl Into<String>) -> Self {
        let mut registries = Self {
            source: source.into(),
            release: release.into(),
            projects: BTreeMap::new(),
            hosts: BTreeMap::new(),
        };
        registries.projects = registries.default_projects();
        registries
    }

    /// Returns the host of the source registry.
    pub(crate) fn source_host(&self) -> &str {
        split_host(&self.source).0
    }

    /// Returns the host of the release registry.
    pub(crate) fn release_host(&self) -> &str {
        split_host(&self.release).0
    }

    /// Returns the source repository for a repository path in the release registry.
    ///
    /// Replaces the name of the project, and keeps the rest of the path.
    pub(crate) fn source_repository(&self, release_repository: &str) -> String {
        let below = |project: &str| {
            release_repository.strip_prefix(project).and_then(|rest| rest.strip_prefix('/'))
        };
        let mapped = self
            .projects
            .values()
            .filter_map(|project| Some((project, below(&project.release)?)))
            .max_by_key(|(project, _)| project.release.len());
        match mapped {
            Some((project, name)) => format!("{}/{}/{name}", self.source_host(), project.source),
            None => format!("{}/{release_repository}", self.source_host()),
        }
    }

    /// Returns the repository in the release registry for a project and a name.
    pub(crate) fn release_repository(&self, project: &str, name: &str) -> String {
        let project = self.projects.get(project).map_or(project, |project| &project.release);
        format!("{}/{project}/{name}", self.release_host())
    }

    /// Returns the built-in projects `release` and `library`.
    ///
    /// `release` stands for the projects in [`Self::source`] and [`Self::release`].
    fn default_projects(&self) -> BTreeMap<String, Project> {
        let own = Project::new(split_host(&self.source).1, split_host(&self.release).1);
        let library = Project::new("library", "library");
        [("release".to_owned(), own), ("library".to_owned(), library)].into()
    }
}

fn split_host(registry: &str) -> (&str, &str) {
    registry.split_once('/').unwrap_or((registry, ""))
}

pub(super) const FIELDS: Table<Registries, ValueError> = Table(&[
    optional("source", Text).try_set(|it, node| {
        it.source = host_and_project(node)?;
        it.projects = it.default_projects();
        Ok(())
    }),
    optional("release", Text).try_set(|it, node| {
        it.release = host_and_project(node)?;
        it.projects = it.default_projects();
        Ok(())
    }),
    // After the registries, because it replaces the default projects in them.
    optional("projects", MapOf(&Fields(&PROJECT))).try_set(|it, node| {
        let read = node.entries().iter().map(|e| Ok((text(&e.key), PROJECT.value(&e.value)?)));
        it.projects = read.collect::<Result<_, ValueError>>()?;
        Ok(())
    }),
    optional("hosts", MapOf(&Fields(&HOST))).try_set(|it, node| {
        for entry in node.entries() {
            it.hosts.insert(text(&entry.key), HOST.value(&entry.value)?);
        }
        Ok(())
    }),
]);

const PROJECT: Table<Project, ValueError> = Table(&[
    required("source", Text).try_set(|it, node| project_name(node).map(|name| it.source = name)),
    required("release", Text).try_set(|it, node| project_name(node).map(|name| it.release = name)),
]);

const HOST: Table<Host, ValueError> = Table(&[
    optional("plain_http", Boolean).set(|it, node| it.plain_http = flag(node)),
    optional("ca", Text).set(|it, node| it.ca = Some(text(node))),
    optional("certificate", Text).set(|it, node| it.certificate = Some(text(node))),
    optional("key", Text).set(|it, node| it.key = Some(text(node))),
]);

fn project_name(node: &Node) -> Result<String, ValueError> {
    let name = text(node);
    if is_repository(&name) {
        return Ok(name);
    }
    let message = format!("{} is not a project", quote(&name));
    let help = "use lower-case letters and digits, separated by `.`, `_`, `-` or `/`";
    Err(value_error(node.span, message, help))
}

fn host_and_project(node: &Node) -> Result<String, ValueError> {
    let text = text(node);
    match format!("{text}/x").parse::<ImageReference>() {
        Ok(image) if image.repository() != "x" => Ok(text),
        _ => Err(value_error(
            node.span,
            format!("{} is not a registry host with a project", quote(&text)),
            "write `HOST[:PORT]/PROJECT`, for example `harbor.example/release`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_repository_replaces_project() {
        let registries = Registries::default();
        assert_eq!(
            registries.source_repository("release/console-web"),
            "cargo.example/source/console-web"
        );
        assert_eq!(registries.source_repository("library/redis"), "cargo.example/library/redis");
        assert_eq!(
            registries.source_repository("releases/x"),
            "cargo.example/releases/x",
            "a project matches whole path elements"
        );
        assert_eq!(registries.release_repository("release", "x"), "harbor.example/release/x");
    }
}
