//! The next version, written into a release manifest: only the values that carry a version change,
//! every other byte stays.
//!
//! ```
//! use compass_manifest::Policy;
//! use compass_manifest::bump::bump_plugin;
//! use compass_manifest::source::SourceFile;
//! use compass_manifest::version::BumpLevel;
//!
//! let text = "\
//! spec:
//!   version: 'v0.1.0'   # both change together
//!   service:
//!     image: harbor.caicloud.xyz/release/compass-plugins-gpu:v0.1.0
//! ";
//! let policy = Policy::default();
//! let bumped = bump_plugin(&SourceFile::new("release-plugins/gpu.yaml", text), &policy, BumpLevel::Minor)?;
//! assert_eq!(bumped.text, text.replace("v0.1.0", "v0.2.0"));
//! # Ok::<(), compass_manifest::bump::BumpError>(())
//! ```

mod base_addon;
mod edit;
mod error;
mod hotfix;
mod plugin;

use crate::version::{HotfixVersion, PluginVersion};

pub use base_addon::known_product_versions;
pub use error::BumpError;
pub use hotfix::{HotfixOrigin, HotfixRequest, new_hotfix};
pub use plugin::{bump_plugin, set_plugin_version};

/// A plugin manifest with another version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BumpedPlugin {
    /// The text of the file. As in [`SourceFile`](crate::source::SourceFile), a byte order mark is
    /// not part of it: whoever writes the file keeps the one that it has.
    pub text: String,
    /// The version that was.
    pub old: PluginVersion,
    /// The version that is.
    pub new: PluginVersion,
    /// The values that changed, in the order of the file.
    pub changes: Vec<ChangedValue>,
}

/// A file that a release repository does not have yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHotfix {
    /// Its path in the repository.
    pub path: String,
    /// Its text, with a byte order mark if the file has one that it begins from.
    pub text: String,
    /// The version of the hotfix.
    pub version: HotfixVersion,
    /// The addon's name, as the path has it.
    pub addon: String,
    /// The path of the addon or the hotfix that it begins from.
    pub from: String,
    /// The hotfix that it begins from, if it is one.
    pub previous: Option<HotfixVersion>,
    /// The values that differ from the file at [`Self::from`], in the order of the file.
    pub changes: Vec<ChangedValue>,
}

/// A value that changed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ChangedValue {
    /// Path of the field, as `spec.service.image`.
    pub path: String,
    /// What it was.
    pub old: String,
    /// What it is.
    pub new: String,
}
