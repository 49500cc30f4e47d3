//! The policy of a release repository: `.compass.yaml`.

use std::collections::BTreeMap;

use regex::Regex;

use crate::finding::Place;
use crate::shape::{self, Field, Shape, optional, required};
use crate::source::{SourceFile, Span};
use crate::yaml::{self, Node};

/// Where the policy stands in a release repository.
pub const POLICY_FILE: &str = ".compass.yaml";

/// What a release repository decides for itself. [`Policy::default`] is the written process.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The registries.
    pub registries: Registries,
    /// Where bundles are published to, as a URL.
    pub store: String,
    /// The platforms that are packaged, as `linux/amd64`; the first one stands for an image where
    /// only one can.
    pub platforms: Vec<String>,
    /// What holds for plugins.
    pub plugins: PluginPolicy,
}

/// The registries of a release.
#[derive(Debug, Clone)]
pub struct Registries {
    /// Where developers push: `HOST/PROJECT`.
    pub source: String,
    /// Where releases are kept: `HOST/PROJECT`.
    pub release: String,
    /// How to speak with single hosts.
    pub hosts: BTreeMap<String, Host>,
}

/// How to speak with a registry host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Without TLS.
    pub plain_http: bool,
    /// A file with certificates that are trusted for this host, relative to the policy.
    pub ca: Option<String>,
}

/// What holds for plugins.
#[derive(Debug, Clone)]
pub struct PluginPolicy {
    /// The directory of the plugin manifests.
    pub directory: String,
    /// Whether pre-releases may be released.
    pub prerelease: bool,
    /// Slots that are meant to be shared between plugins.
    pub shared_slots: Vec<Pattern>,
    /// Ports that are meant to be shared between plugins.
    pub shared_ports: Vec<u16>,
}

/// A text in which `*` stands for any characters.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

/// Why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}:{}: {message}", place.file, place.start.line, place.start.column)]
pub struct PolicyError {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            registries: Registries {
                source: "cargo.caicloudprivatetest.com/caicloud".to_owned(),
                release: "harbor.caicloud.xyz/release".to_owned(),
                hosts: BTreeMap::new(),
            },
            store: "oss://infra-release".to_owned(),
            platforms: vec!["linux/amd64".to_owned()],
            plugins: PluginPolicy {
                directory: "release-plugins".to_owned(),
                prerelease: false,
                shared_slots: Vec::new(),
                shared_ports: Vec::new(),
            },
        }
    }
}

impl Policy {
    /// Reads a policy file; what it leaves out is as in [`Policy::default`].
    ///
    /// # Errors
    /// The first thing in the file that is wrong, with its place: a policy is used whole or not at
    /// all.
    pub fn parse(source: &SourceFile) -> Result<Self, PolicyError> {
        let error =
            |span, message, help| PolicyError { place: Place::new(source, span), message, help };
        let root = yaml::parse(source.text()).map_err(|syntax| {
            error(syntax.span, syntax.message, syntax.help.unwrap_or_default().to_owned())
        })?;
        if let Some(departure) = shape::compare(&root, SHAPE).into_iter().next() {
            return Err(error(departure.span, departure.message, departure.help));
        }
        let mut policy = Self::default();
        policy.read(&root).map_err(|wrong| error(wrong.span, wrong.message, wrong.help))?;
        Ok(policy)
    }

    fn read(&mut self, root: &Node) -> Result<(), Wrong> {
        if let Some(version) = root.get("version").filter(|version| version.text() != Some("1")) {
            return Err(wrong(version, "only policy version 1 is known", "write `version: 1`"));
        }
        if let Some(registries) = root.get("registries") {
            self.registries.read(registries)?;
        }
        if let Some(store) = root.get("store") {
            self.store = store_url(store)?;
        }
        if let Some(platforms) = root.get("platforms") {
            self.platforms = platforms.items().iter().map(platform).collect::<Result<_, _>>()?;
            if self.platforms.is_empty() {
                return Err(wrong(platforms, "no platform is listed", "write `[linux/amd64]`"));
            }
        }
        root.get("plugins").map_or(Ok(()), |plugins| self.plugins.read(plugins))
    }
}

impl Registries {
    fn read(&mut self, node: &Node) -> Result<(), Wrong> {
        for (key, field) in [("source", &mut self.source), ("release", &mut self.release)] {
            if let Some(value) = node.get(key) {
                *field = host_and_project(value)?;
            }
        }
        for entry in node.get("hosts").map(Node::entries).unwrap_or_default() {
            let host = Host {
                plain_http: flag(entry.value.get("plain_http")),
                ca: entry.value.get("ca").and_then(Node::text).map(str::to_owned),
            };
            self.hosts.insert(entry.key.text().unwrap_or_default().to_owned(), host);
        }
        Ok(())
    }
}

impl PluginPolicy {
    fn read(&mut self, node: &Node) -> Result<(), Wrong> {
        if let Some(directory) = node.get("directory") {
            self.directory = relative_directory(directory)?;
        }
        if node.get("prerelease").is_some() {
            self.prerelease = flag(node.get("prerelease"));
        }
        if let Some(slots) = node.get("shared_slots") {
            let texts = slots.items().iter().filter_map(Node::text);
            self.shared_slots = texts.map(Pattern::new).collect();
        }
        if let Some(ports) = node.get("shared_ports") {
            let texts = ports.items().iter().filter_map(Node::text);
            self.shared_ports = texts.filter_map(|port| port.parse().ok()).collect();
        }
        Ok(())
    }
}

impl Pattern {
    /// Takes a text in which `*` stands for any characters, also none.
    #[expect(clippy::missing_panics_doc, reason = "escaped text joined by `.*` is always a regex")]
    pub fn new(text: &str) -> Self {
        let parts: Vec<String> = text.split('*').map(regex::escape).collect();
        #[expect(clippy::expect_used, reason = "escaped text joined by `.*` is always a regex")]
        let regex = Regex::new(&format!("(?s)^{}$", parts.join(".*"))).expect("an escaped pattern");
        Self { text: text.to_owned(), regex }
    }

    /// Whether the whole of a text fits.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

struct Wrong {
    span: Span,
    message: String,
    help: String,
}

fn wrong(node: &Node, message: &str, help: &str) -> Wrong {
    Wrong { span: node.span, message: message.to_owned(), help: help.to_owned() }
}

fn flag(node: Option<&Node>) -> bool {
    node.and_then(Node::text).is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

fn host_and_project(node: &Node) -> Result<String, Wrong> {
    let text = node.text().unwrap_or_default();
    match format!("{text}/x").parse::<crate::image::ImageReference>() {
        Ok(image) if image.repository() != "x" => Ok(text.to_owned()),
        _ => Err(wrong(
            node,
            &format!("`{text}` is not a registry host with a project"),
            "write `HOST[:PORT]/PROJECT`, as `harbor.example/release`",
        )),
    }
}

fn store_url(node: &Node) -> Result<String, Wrong> {
    let text = node.text().unwrap_or_default();
    let known = ["file://", "oss://", "s3://"]
        .iter()
        .any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    if known {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err(wrong(
            node,
            &format!("`{text}` is not the URL of a store"),
            "write `oss://BUCKET`, `s3://BUCKET` or `file:///DIRECTORY`",
        ))
    }
}

fn platform(node: &Node) -> Result<String, Wrong> {
    let text = node.text().unwrap_or_default();
    let parts: Vec<&str> = text.split('/').collect();
    if (2..=3).contains(&parts.len()) && parts.iter().all(|part| !part.is_empty()) {
        Ok(text.to_owned())
    } else {
        Err(wrong(
            node,
            &format!("`{text}` is not a platform"),
            "write `OS/ARCH`, as `linux/amd64`",
        ))
    }
}

fn relative_directory(node: &Node) -> Result<String, Wrong> {
    let text = node.text().unwrap_or_default().trim_end_matches('/');
    let inside = !text.is_empty() && text.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if inside {
        Ok(text.to_owned())
    } else {
        Err(wrong(
            node,
            &format!("`{text}` is not a directory inside the release repository"),
            "write a relative path without `.` and `..`",
        ))
    }
}

const SHAPE: Shape = Shape::Fields(&[
    required("version", Shape::Scalar),
    optional("registries", Shape::Fields(REGISTRIES)),
    optional("store", Shape::Text),
    optional("platforms", Shape::List(&Shape::Text)),
    optional("plugins", Shape::Fields(PLUGINS)),
]);

const REGISTRIES: &[Field] = &[
    optional("source", Shape::Text),
    optional("release", Shape::Text),
    optional("hosts", Shape::MapOf(&Shape::Fields(HOST))),
];

const HOST: &[Field] = &[optional("plain_http", Shape::Boolean), optional("ca", Shape::Text)];

const PLUGINS: &[Field] = &[
    optional("directory", Shape::Text),
    optional("prerelease", Shape::Boolean),
    optional("shared_slots", Shape::List(&Shape::Text)),
    optional("shared_ports", Shape::List(&Shape::Port)),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(&SourceFile::new(POLICY_FILE, text))
    }

    #[test]
    fn what_a_policy_leaves_out_is_the_written_process() {
        let policy = parse("version: 1\nplugins: {shared_slots: ['*.plugin_center']}\n").unwrap();
        assert_eq!(policy.registries.release, "harbor.caicloud.xyz/release");
        assert!(policy.plugins.shared_slots[0].matches("user.plugin_center"));
        assert!(!policy.plugins.shared_slots[0].matches("user.plugin_center.x"));
    }

    #[test]
    fn a_mistake_is_shown_at_its_place_with_a_suggestion() {
        let error = parse("version: 1\nplugins:\n  shared_slot: []\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            ".compass.yaml:3:3: `plugins.shared_slot` is not a known field"
        );
        assert_eq!(error.help, "did you mean `shared_slots`?");
    }

    #[test]
    fn values_are_checked_when_the_policy_is_read() {
        for (text, says) in [
            ("version: 2\n", "only policy version 1"),
            ("store: oss://x\n", "`version` is missing"),
            ("version: 1\nstore: /tmp/x\n", "not the URL of a store"),
            ("version: 1\nplatforms: [linux]\n", "not a platform"),
            ("version: 1\nplatforms: []\n", "no platform"),
            ("version: 1\nregistries: {release: harbor.example}\n", "with a project"),
            ("version: 1\nplugins: {directory: ../x}\n", "not a directory inside"),
            ("version: 1\nplugins: {shared_ports: [99999]}\n", "should be a port"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
