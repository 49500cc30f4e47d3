use crate::escape::{escape, quote, quote_name};
use crate::finding::Location;
use crate::suggest;
use crate::version::{HotfixVersion, PluginVersion, ProductVersion, VersionError};

/// Why a version cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BumpError {
    /// The file is not YAML that could be read.
    #[error("{location}: {message}")]
    Syntax {
        /// Where.
        location: Location,
        /// What is wrong.
        message: String,
    },
    /// The file lacks a value that carries the version.
    #[error("{}: {} is missing", escape(file), quote_name(path))]
    Missing {
        /// The file.
        file: String,
        /// Path of the field.
        path: String,
    },
    /// A value is not what it should be.
    #[error("{location}: {message}")]
    Unusable {
        /// Where.
        location: Location,
        /// What is wrong.
        message: String,
    },
    /// An image has a digest beside its tag.
    #[error(
        "{location}: {} is pinned to a digest, which another tag would not have",
        quote_name(path)
    )]
    Pinned {
        /// Where.
        location: Location,
        /// Path of the field.
        path: String,
    },
    /// A value is written in a way that cannot be replaced without touching something else.
    #[error("{location}: {} is {form}, which cannot be replaced in place", quote_name(path))]
    NotInPlace {
        /// Where.
        location: Location,
        /// Path of the field.
        path: String,
        /// How it is written.
        form: &'static str,
    },
    /// The text that came out means something else than was meant: an anchor carried the change on.
    #[error("{}: with the version {} would change too", escape(file), quote_name(path))]
    ElseChanged {
        /// The file.
        file: String,
        /// The path that would change.
        path: String,
    },
    /// A version is not greater than the one before.
    #[error("{} is not greater than {}", quote(new), quote(old))]
    NotGreater {
        /// The version that is.
        old: PluginVersion,
        /// The version that was wanted.
        new: PluginVersion,
    },
    /// A number of a version is too large to count on.
    #[error("there is no version after {}", quote(.0))]
    NoneAfter(String),
    /// The version of a hotfix would not be one.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// There is no such addon.
    #[error("the product {base} has no addon {}", quote(addon))]
    UnknownAddon {
        /// What was looked for.
        addon: String,
        /// The product version.
        base: ProductVersion,
        /// The addons there are.
        known: Vec<String>,
    },
    /// Several addons have that name.
    #[error("several addons are named {}: {}", quote(addon), escape(&candidates.join(", ")))]
    AmbiguousAddon {
        /// What was looked for.
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
        /// The day that was wanted.
        date: crate::version::Date,
    },
    /// The addon does not stand where namespace and group could be read from.
    #[error("{}: the path does not say namespace, group and addon", escape(file))]
    NoPlace {
        /// The addon's file.
        file: String,
    },
    /// The policy knows no hotfix at that place.
    #[error(
        "no pattern of the policy takes {} as the path of a hotfix with a HOTFIXVERSION",
        quote_name(path)
    )]
    PathRefused {
        /// The path.
        path: String,
    },
    /// There is something at that place.
    #[error("{} is there already", quote_name(path))]
    Exists {
        /// The path.
        path: String,
    },
}

impl BumpError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Syntax { .. } | Self::Missing { .. } | Self::Unusable { .. } => {
                "`compass check` shows what is wrong with the file".to_owned()
            }
            Self::Pinned { .. } => {
                "take the digest away, or write the new version, tag and digest by hand".to_owned()
            }
            Self::NotInPlace { .. } => {
                "write the value out, on one line and without escapes".to_owned()
            }
            Self::ElseChanged { .. } => "write the values out instead of an alias".to_owned(),
            Self::NotGreater { .. } => "versions only go up: use one that is greater".to_owned(),
            Self::UnknownAddon { known, .. } if known.is_empty() => {
                "there are no addons: `products.addons` of the policy names their directory"
                    .to_owned()
            }
            Self::UnknownAddon { addon, known, .. } => {
                let there = format!("addons there: {}", escape(&known.join(", ")));
                match suggest(addon, known.iter().map(String::as_str)) {
                    Some(meant) => format!("did you mean {}? {there}", quote(meant)),
                    None => there,
                }
            }
            Self::AmbiguousAddon { .. } => {
                "name it by its path, as NAMESPACE/GROUP/ADDON".to_owned()
            }
            Self::LaterHotfix { latest, .. } => {
                format!("use its day, {}, or a later one", latest.date())
            }
            Self::NoPlace { .. } => {
                "addons are `<namespace>/<group>/<addon>/values.yaml` below their directory; `_metadata.namespace` may stand for the first"
                    .to_owned()
            }
            Self::PathRefused { .. } => {
                "add a pattern of the form `hotfix` to `hotfixes.patterns` of the policy, before others that take the path"
                    .to_owned()
            }
            Self::NoneAfter(_) | Self::Version(_) | Self::Exists { .. } => return None,
        })
    }

    /// Whether it lies in the manifests, and not in what was asked for.
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
