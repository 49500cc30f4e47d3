//! The part of image references that names a registry, or a project in it.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Reference};

/// A registry, or a project in it: `HOST[:PORT][/PROJECT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryPrefix {
    /// The host, with its port if there is one.
    pub host: String,
    /// The project. If it is empty, images keep their own project.
    pub project: String,
}

impl FromStr for RegistryPrefix {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (host, project) = text.trim_end_matches('/').split_once('/').unwrap_or((text, ""));
        let host = host.trim_end_matches('/');
        let probe = if project.is_empty() { "x".to_owned() } else { format!("{project}/x") };
        format!("{host}/{probe}").parse::<Reference>().map_err(|_| {
            Error::invalid("registry", text, "expected `HOST[:PORT]` or `HOST[:PORT]/PROJECT`")
        })?;
        Ok(Self { host: host.to_owned(), project: project.to_owned() })
    }
}

impl fmt::Display for RegistryPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        if self.project.is_empty() { Ok(()) } else { write!(f, "/{}", self.project) }
    }
}
