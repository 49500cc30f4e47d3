use regex::{Regex, RegexBuilder};

use super::value::{TEXTS, ValueError, directories, text, texts, value_error};
use crate::escape::quote;
use crate::schema::Schema::{Fields, List, OneOf, Text};
use crate::schema::{Table, optional, required};
use crate::source::{Span, Spanned};
use crate::yaml::Node;

/// The settings for hotfixes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HotfixPolicy {
    /// The directories of the hotfixes; `compass bump` creates hotfixes in the first.
    pub directories: Vec<String>,
    /// The namespaces that an addon may be installed in.
    pub namespaces: Vec<String>,
    /// The patterns of hotfix paths, tried in order.
    pub patterns: Vec<PathPattern>,
    /// The placeholder texts of README templates, which authors must replace.
    pub placeholders: Vec<String>,
}

/// A pattern of hotfix paths below the hotfix directory.
///
/// The pattern is a regular expression for the whole path, with the named groups `addon`,
/// `version`, `base` (product version), `date`, `patch`, `namespace`, `group`, `leaf` (the addon's
/// own directory), and `package`, if the directory of the package is not the one with `version`.
#[derive(Debug, Clone)]
pub struct PathPattern {
    text: String,
    regex: Regex,
    /// The format of the version in the path.
    pub format: VersionFormat,
}

/// The format of the version in a hotfix's path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VersionFormat {
    /// A HOTFIXVERSION.
    #[default]
    Hotfix,
    /// The component's own version, with any suffix.
    Component,
    /// The path has no version.
    None,
}

const DEFAULT_PATTERN: &str = r"(?P<base>v[^/]+)/(?P<addon>[^/]+?)-(?P<version>v[0-9][^/]*)/(?P<namespace>[^/]+)/(?P<group>[^/]+)/(?P<leaf>[^/]+)/values\.yaml";

/// The maximum memory of a compiled pattern in bytes.
///
/// Patterns of real repositories need a fifth of this size.
const MAX_COMPILED_BYTES: usize = 512 << 10;
/// The maximum number of path patterns of a policy.
const MAX_PATH_PATTERNS: usize = 64;

impl Default for HotfixPolicy {
    fn default() -> Self {
        Self {
            directories: vec!["release-hotfixes".to_owned()],
            namespaces: vec!["default".to_owned(), "kube-system".to_owned()],
            patterns: PathPattern::new(DEFAULT_PATTERN, VersionFormat::Hotfix)
                .into_iter()
                .collect(),
            placeholders: Vec::new(),
        }
    }
}

impl PathPattern {
    /// Compiles a regular expression for the whole path below the hotfix directory.
    ///
    /// # Errors
    /// Returns an error if the text is not a valid regular expression, or if its compiled form
    /// exceeds 512 KiB.
    pub fn new(text: &str, format: VersionFormat) -> Result<Self, regex::Error> {
        let regex = RegexBuilder::new(&format!("^(?:{text})$"))
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_COMPILED_BYTES)
            .build()?;
        Ok(Self { text: text.to_owned(), regex, format })
    }

    /// Returns the expression as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether this is the built-in pattern.
    pub(crate) fn is_built_in(&self) -> bool {
        self.text == DEFAULT_PATTERN
    }

    pub(crate) fn captures<'t>(&self, path: &'t str) -> Option<regex::Captures<'t>> {
        self.regex.captures(path)
    }

    fn list(node: &Node) -> Result<Vec<Self>, ValueError> {
        let nodes = node.items();
        if nodes.len() > MAX_PATH_PATTERNS {
            let message = format!("the list has {} patterns", nodes.len());
            let help = format!("write at most {MAX_PATH_PATTERNS} patterns");
            return Err(value_error(node.span, message, help));
        }
        nodes.iter().map(Self::read).collect()
    }

    fn read(node: &Node) -> Result<Self, ValueError> {
        let PatternFields { path, format } = PATTERN.value(node)?;
        let error = |message: String, help: &str| value_error(path.span, message, help);
        let pattern =
            Self::new(&path.value, format).map_err(|error| invalid_regex(path.span, &error))?;
        let mut groups = pattern.regex.capture_names().flatten();
        if format != VersionFormat::None && !groups.clone().any(|name| name == "version") {
            let message = "the pattern has no group `version`".to_owned();
            return Err(error(message, "add `(?P<version>…)`, or write `version: none`"));
        }
        if let Some(unknown) = groups.find(|name| !GROUPS.contains(name)) {
            let message = format!("{} is not a known group", quote(unknown));
            return Err(error(message, &format!("use these groups: {}", GROUPS.join(", "))));
        }
        Ok(pattern)
    }
}

impl VersionFormat {
    /// Returns the name in a policy.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hotfix => "hotfix",
            Self::Component => "component",
            Self::None => "none",
        }
    }

    fn read(node: &Node) -> Result<Self, ValueError> {
        match node.text().unwrap_or_default() {
            "hotfix" => Ok(Self::Hotfix),
            "component" => Ok(Self::Component),
            "none" => Ok(Self::None),
            other => {
                let message = format!("{} is not a version format", quote(other));
                let help = "write `hotfix` (a HOTFIXVERSION), `component` or `none`";
                Err(value_error(node.span, message, help))
            }
        }
    }
}

/// The fields of a [`PathPattern`].
#[derive(Default)]
struct PatternFields {
    path: Spanned<String>,
    format: VersionFormat,
}

pub(super) const FIELDS: Table<HotfixPolicy, ValueError> = Table(&[
    optional("directory", TEXTS)
        .try_set(|it, node| directories(node).map(|all| it.directories = all)),
    optional("namespaces", List(&Text)).set(|it, node| it.namespaces = texts(node)),
    optional("patterns", List(&Fields(&PATTERN)))
        .try_set(|it, node| PathPattern::list(node).map(|all| it.patterns = all)),
    optional("placeholders", List(&Text)).set(|it, node| it.placeholders = texts(node)),
]);

const PATTERN: Table<PatternFields, ValueError> = Table(&[
    required("path", Text).set(|it, node| it.path = Spanned { value: text(node), span: node.span }),
    required("version", OneOf(&["hotfix", "component", "none"]))
        .try_set(|it, node| VersionFormat::read(node).map(|format| it.format = format)),
]);

fn invalid_regex(span: Span, error: &regex::Error) -> ValueError {
    if matches!(error, regex::Error::CompiledTooBig(_)) {
        let help =
            "use smaller repetitions, and `[0-9]` and `[A-Za-z0-9_]` instead of `\\d` and `\\w`";
        return value_error(span, "the regular expression needs too much memory", help);
    }
    let reason = error.to_string();
    let reason = reason.lines().last().unwrap_or_default().to_owned();
    value_error(span, "this is not a valid regular expression", reason)
}

const GROUPS: &[&str] =
    &["addon", "version", "base", "date", "patch", "namespace", "group", "leaf", "package"];
