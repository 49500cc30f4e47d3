use std::collections::BTreeMap;

use super::value::{ValueError, flag, value_error};
use crate::escape::quote;
use crate::image::{ImageReference, is_repository};
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The name in the source registry.
    pub source: String,
    /// The name in the release registry.
    pub release: String,
}

/// The connection settings of a registry host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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

impl Default for Registries {
    fn default() -> Self {
        let mut registries = Self {
            source: "cargo.caicloudprivatetest.com/caicloud".to_owned(),
            release: "harbor.caicloud.xyz/release".to_owned(),
            projects: BTreeMap::new(),
            hosts: BTreeMap::new(),
        };
        registries.projects = registries.default_projects();
        registries
    }
}

impl Registries {
    /// Returns the host of the source registry.
    pub fn source_host(&self) -> &str {
        split_host(&self.source).0
    }

    /// Returns the host of the release registry.
    pub fn release_host(&self) -> &str {
        split_host(&self.release).0
    }

    /// Returns the source repository for a repository path in the release registry.
    ///
    /// Replaces the name of the project, and keeps the rest of the path.
    pub fn source_repository(&self, release_repository: &str) -> String {
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
    pub fn release_repository(&self, project: &str, name: &str) -> String {
        let project = self.projects.get(project).map_or(project, |project| &project.release);
        format!("{}/{project}/{name}", self.release_host())
    }

    pub(super) fn read(&mut self, node: &Node) -> Result<(), ValueError> {
        for (key, field) in [("source", &mut self.source), ("release", &mut self.release)] {
            if let Some(value) = node.get(key) {
                *field = host_and_project(value)?;
            }
        }
        self.projects = match node.get("projects") {
            Some(projects) => read_projects(projects)?,
            None => self.default_projects(),
        };
        for entry in node.get("hosts").map(Node::entries).unwrap_or_default() {
            let file = |key| entry.value.get(key).and_then(Node::text).map(str::to_owned);
            let host = Host {
                plain_http: flag(entry.value.get("plain_http")),
                ca: file("ca"),
                certificate: file("certificate"),
                key: file("key"),
            };
            self.hosts.insert(entry.key.text().unwrap_or_default().to_owned(), host);
        }
        Ok(())
    }

    /// Returns the built-in projects `release` and `library`.
    ///
    /// `release` stands for the projects in [`Self::source`] and [`Self::release`].
    fn default_projects(&self) -> BTreeMap<String, Project> {
        let project = |source: &str, release: &str| Project {
            source: source.into(),
            release: release.into(),
        };
        let own = project(split_host(&self.source).1, split_host(&self.release).1);
        [("release".to_owned(), own), ("library".to_owned(), project("library", "library"))].into()
    }
}

fn split_host(registry: &str) -> (&str, &str) {
    registry.split_once('/').unwrap_or((registry, ""))
}

fn read_projects(node: &Node) -> Result<BTreeMap<String, Project>, ValueError> {
    let name = |node: Option<&Node>| -> Result<String, ValueError> {
        let text = node.and_then(Node::text).unwrap_or_default();
        match node {
            Some(node) if !is_repository(text) => Err(value_error(
                node,
                format!("{} is not a project", quote(text)),
                "use lower-case letters and digits, separated by `.`, `_`, `-` or `/`",
            )),
            _ => Ok(text.to_owned()),
        }
    };
    let entries = node.entries().iter().map(|entry| {
        let project = Project {
            source: name(entry.value.get("source"))?,
            release: name(entry.value.get("release"))?,
        };
        Ok((entry.key.text().unwrap_or_default().to_owned(), project))
    });
    entries.collect()
}

fn host_and_project(node: &Node) -> Result<String, ValueError> {
    let text = node.text().unwrap_or_default();
    match format!("{text}/x").parse::<ImageReference>() {
        Ok(image) if image.repository() != "x" => Ok(text.to_owned()),
        _ => Err(value_error(
            node,
            format!("{} is not a registry host with a project", quote(text)),
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
            "cargo.caicloudprivatetest.com/caicloud/console-web"
        );
        assert_eq!(
            registries.source_repository("library/redis"),
            "cargo.caicloudprivatetest.com/library/redis"
        );
        assert_eq!(
            registries.source_repository("releases/x"),
            "cargo.caicloudprivatetest.com/releases/x",
            "a project matches whole path elements"
        );
        assert_eq!(registries.release_repository("release", "x"), "harbor.caicloud.xyz/release/x");
    }
}
