use super::pattern::Pattern;
use super::registries::Registries;
use super::value::{ValueError, value_error};
use std::borrow::Cow;

use crate::escape::quote;
use crate::template::variables;
use crate::yaml::{Node, NodeKind, ScalarType};

/// The template variables that release manifests may use, as `[[ registry_release ]]`.
#[derive(Debug, Clone)]
pub struct Templates {
    variables: Vec<(Pattern, TemplateValue)>,
}

/// What a template variable stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateValue {
    /// A project of the registry: `{release}` in the policy.
    Project(String),
    /// A text.
    Text(String),
    /// Something that is known on site only.
    OnSite,
}

impl Default for Templates {
    fn default() -> Self {
        let variable = |name: &str, project: &str| {
            (Pattern::of(name), TemplateValue::Project(project.to_owned()))
        };
        Self {
            variables: vec![
                variable("registry_release", "release"),
                variable("registry_library", "library"),
            ],
        }
    }
}

impl Templates {
    /// What a variable stands for; `None` for one that the policy does not know.
    pub fn get(&self, name: &str) -> Option<&TemplateValue> {
        self.variables.iter().rev().find(|(known, _)| known.matches(name)).map(|(_, value)| value)
    }

    /// A text with the values of its variables filled in.
    ///
    /// # Errors
    /// If the policy gives a variable no text: why.
    ///
    /// ```
    /// use compass_manifest::Policy;
    /// use compass_manifest::source::SourceFile;
    ///
    /// let policy = "version: 1\ntemplates: {tag: v1.2.3, cluster: ~}\n";
    /// let policy = Policy::parse(&SourceFile::new(".compass.yaml", policy))?;
    /// assert_eq!(policy.templates.fill("hodor:[[ tag ]]").unwrap(), "hodor:v1.2.3");
    /// assert_eq!(policy.templates.fill("[[ cluster ]]").unwrap_err(), "`cluster` is known on site only");
    /// # Ok::<(), compass_manifest::policy::PolicyError>(())
    /// ```
    pub fn fill<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, String> {
        let (mut filled, mut copied) = (String::new(), 0);
        for variable in variables(text) {
            let name = quote(variable.name);
            let value = match self.get(variable.name) {
                _ if !text[..variable.end].ends_with("]]") => {
                    return Err(format!("the template variable {name} is not closed"));
                }
                Some(TemplateValue::Text(value)) => value,
                Some(TemplateValue::Project(_)) => {
                    return Err(format!("{name} stands for a registry, which comes first"));
                }
                Some(TemplateValue::OnSite) => return Err(format!("{name} is known on site only")),
                None => return Err(format!("the policy does not know {name}")),
            };
            filled.push_str(&text[copied..variable.start]);
            filled.push_str(value);
            copied = variable.end;
        }
        if copied == 0 {
            return Ok(Cow::Borrowed(text));
        }
        filled.push_str(&text[copied..]);
        Ok(Cow::Owned(filled))
    }

    /// The names, as the policy writes them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|(name, _)| name.as_str())
    }

    /// The variable that stands for a project.
    pub fn variable_of_project(&self, project: &str) -> Option<&str> {
        let stands = |value: &TemplateValue| *value == TemplateValue::Project(project.to_owned());
        self.variables.iter().find(|(_, value)| stands(value)).map(|(name, _)| name.as_str())
    }

    pub(super) fn read(&mut self, node: &Node, registries: &Registries) -> Result<(), ValueError> {
        for entry in node.entries() {
            let value = read_value(&entry.value, registries)?;
            self.variables.push((Pattern::read(&entry.key)?, value));
        }
        Ok(())
    }
}

fn read_value(node: &Node, registries: &Registries) -> Result<TemplateValue, ValueError> {
    let NodeKind::Scalar(scalar) = &node.kind else { return Ok(TemplateValue::OnSite) };
    if scalar.scalar_type() == ScalarType::Null {
        return Ok(TemplateValue::OnSite);
    }
    match scalar.text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(project) if registries.projects.contains_key(project) => {
            Ok(TemplateValue::Project(project.to_owned()))
        }
        Some(project) => {
            let known: Vec<_> = registries.projects.keys().map(String::as_str).collect();
            Err(value_error(
                node,
                format!("{} is not a project", quote(project)),
                format!("projects here: {}", known.join(", ")),
            ))
        }
        None => Ok(TemplateValue::Text(scalar.text.to_string())),
    }
}
