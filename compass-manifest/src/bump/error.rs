use crate::escape::{escape, quote, quote_name};
use crate::finding::Location;
use crate::suggest;
use crate::version::{HotfixVersion, PluginVersion, ProductVersion, VersionError};

/// The error for a version that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BumpError {
    /// The file is not valid YAML.
    #[error("{location}: {message}")]
    Syntax {
        /// The location.
        location: Location,
        /// The problem.
        message: String,
    },
    /// The file lacks a value that contains the version.
    #[error("{}: {} is missing", escape(file), quote_name(path))]
    Missing {
        /// The file.
        file: String,
        /// The path of the field.
        path: String,
    },
    /// A value is invalid.
    #[error("{location}: {message}")]
    Unusable {
        /// The location.
        location: Location,
        /// The problem.
        message: String,
    },
    /// An image has a digest.
    #[error(
        "{location}: {} is pinned to a digest, which does not match another tag",
        quote_name(path)
    )]
    Pinned {
        /// The location.
        location: Location,
        /// The path of the field.
        path: String,
    },
    /// A value has a style that cannot be replaced in place.
    #[error("{location}: {} is {style}, which cannot be replaced in place", quote_name(path))]
    NotInPlace {
        /// The location.
        location: Location,
        /// The path of the field.
        path: String,
        /// The style, such as `an alias`.
        style: &'static str,
    },
    /// The replacement would change another value too, through an anchor.
    #[error("{}: the change of the version would also change {}", escape(file), quote_name(path))]
    ElseChanged {
        /// The file.
        file: String,
        /// The path of the other value.
        path: String,
    },
    /// The requested version is not greater than the current one.
    #[error("{} is not greater than {}", quote(new), quote(old))]
    NotGreater {
        /// The current version.
        old: PluginVersion,
        /// The requested version.
        new: PluginVersion,
    },
    /// A number of the version overflows.
    #[error("there is no version after {}", quote(.0))]
    NoneAfter(String),
    /// The new HOTFIXVERSION is invalid.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// The product version has no such addon.
    #[error("the product {base} has no addon {}", quote(addon))]
    UnknownAddon {
        /// The requested name.
        addon: String,
        /// The product version.
        base: ProductVersion,
        /// The names of the existing addons.
        known: Vec<String>,
    },
    /// Several addons have the name.
    #[error("several addons are named {}: {}", quote(addon), escape(&candidates.join(", ")))]
    AmbiguousAddon {
        /// The requested name.
        addon: String,
        /// Their paths.
        candidates: Vec<String>,
    },
    /// The addon has a hotfix of a later day.
    #[error(
        "addon {} has the hotfix {} already, which is of a later day than {date}",
        quote(addon),
        quote(latest)
    )]
    LaterHotfix {
        /// The addon.
        addon: String,
        /// Its latest hotfix.
        latest: HotfixVersion,
        /// The requested date.
        date: crate::version::Date,
    },
    /// The addon's path has no namespace or group.
    #[error("{}: the path does not contain namespace, group and addon", escape(file))]
    NoPlace {
        /// The addon's file.
        file: String,
    },
    /// The policy does not parse the new path as this hotfix.
    #[error(
        "no pattern of the policy matches {} as a hotfix with a HOTFIXVERSION",
        quote_name(path)
    )]
    PathRefused {
        /// The path.
        path: String,
    },
    /// The new path exists.
    #[error("{} already exists", quote_name(path))]
    Exists {
        /// The path.
        path: String,
    },
}

impl BumpError {
    /// Returns how to fix the error.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Syntax { .. } | Self::Missing { .. } | Self::Unusable { .. } => {
                "`compass check` shows the errors of the file".to_owned()
            }
            Self::Pinned { .. } => {
                "remove the digest, or edit version, tag and digest by hand".to_owned()
            }
            Self::NotInPlace { .. } => {
                "write the value on one line and without escapes".to_owned()
            }
            Self::ElseChanged { .. } => "write the values instead of an alias".to_owned(),
            Self::NotGreater { .. } => "use a greater version".to_owned(),
            Self::UnknownAddon { known, .. } if known.is_empty() => {
                "there are no addons: check `products.addons` of the policy"
                    .to_owned()
            }
            Self::UnknownAddon { addon, known, .. } => {
                let listed = format!("known addons: {}", escape(&known.join(", ")));
                match suggest(addon, known.iter().map(String::as_str)) {
                    Some(name) => format!("did you mean {}? {listed}", quote(name)),
                    None => listed,
                }
            }
            Self::AmbiguousAddon { .. } => {
                "name it by its path, as NAMESPACE/GROUP/ADDON".to_owned()
            }
            Self::LaterHotfix { latest, .. } => {
                format!("use its date, {}, or a later one", latest.date())
            }
            Self::NoPlace { .. } => {
                "move the addon to `<namespace>/<group>/<addon>/values.yaml` below its directory, or set `_metadata.namespace`"
                    .to_owned()
            }
            Self::PathRefused { .. } => {
                "add a pattern with `version: hotfix` to `hotfixes.patterns` of the policy, before others that match the path"
                    .to_owned()
            }
            Self::NoneAfter(_) | Self::Version(_) | Self::Exists { .. } => return None,
        })
    }

    /// Returns whether the cause is in the manifests rather than in the request.
    pub fn is_in_manifest(&self) -> bool {
        matches!(
            self,
            Self::Syntax { .. }
                | Self::Missing { .. }
                | Self::Unusable { .. }
                | Self::Pinned { .. }
                | Self::NotInPlace { .. }
                | Self::ElseChanged { .. }
                | Self::NoPlace { .. }
        )
    }
}
