use super::pattern::Pattern;
use super::registries::Registries;
use super::value::{ValueError, value_error};
use std::borrow::Cow;

use crate::escape::quote;
use crate::template::variables;
use crate::yaml::{Node, NodeKind, ScalarType};

/// The template variables that release manifests may use, such as `[[ registry_release ]]`.
#[derive(Debug, Clone)]
pub struct Templates {
    variables: Vec<(Pattern, TemplateValue)>,
}

/// The value of a template variable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateValue {
    /// A project of the registry, for example `{release}` in the policy.
    Project(String),
    /// A text.
    Text(String),
    /// A value that is known only on site.
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
    /// Returns the value of a variable; `None` if the policy does not list the variable.
    pub fn get(&self, name: &str) -> Option<&TemplateValue> {
        self.variables.iter().rev().find(|(known, _)| known.matches(name)).map(|(_, value)| value)
    }

    /// Replaces the variables in a text by their values.
    ///
    /// # Errors
    /// Returns a message if a variable is unknown, is not closed, or has no text as its value.
    ///
    /// ```
    /// use compass_manifest::Policy;
    /// use compass_manifest::source::SourceFile;
    ///
    /// let policy = "version: 1\ntemplates: {tag: v1.2.3, cluster: ~}\n";
    /// let policy = Policy::parse(&SourceFile::new(".compass.yaml", policy))?;
    /// assert_eq!(policy.templates.fill("hodor:[[ tag ]]").unwrap(), "hodor:v1.2.3");
    /// assert_eq!(policy.templates.fill("[[ cluster ]]").unwrap_err(), "the value of `cluster` is known only on site");
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
                    return Err(format!("{name} is a registry, which must be at the beginning"));
                }
                Some(TemplateValue::OnSite) => {
                    return Err(format!("the value of {name} is known only on site"));
                }
                None => return Err(format!("{name} is not in `templates` of the policy")),
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

    /// Returns the names and name patterns in the policy.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the first variable whose value is the project.
    pub(crate) fn variable_for_project(&self, project: &str) -> Option<&str> {
        let is_project =
            |value: &TemplateValue| *value == TemplateValue::Project(project.to_owned());
        self.variables.iter().find(|(_, value)| is_project(value)).map(|(name, _)| name.as_str())
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
                node.span,
                format!("{} is not a project", quote(project)),
                format!("write one of {}", known.join(", ")),
            ))
        }
        None => Ok(TemplateValue::Text(scalar.text.to_string())),
    }
}
