//! Writes the next version into release manifests.
//!
//! Only the values that contain the version change; every other byte stays the same.
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
//!     image: harbor.example/release/compass-plugins-gpu:v0.1.0
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

/// A plugin manifest with a new version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BumpedPlugin {
    /// The text of the file, without a byte order mark, as in
    /// [`SourceFile`](crate::source::SourceFile).
    ///
    /// The caller must write the byte order mark if the file has one.
    pub text: String,
    /// The old version.
    pub old: PluginVersion,
    /// The new version.
    pub new: PluginVersion,
    /// The changed values, in file order.
    pub changes: Vec<ChangedValue>,
}

/// A new hotfix, to be written to the release repository.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewHotfix {
    /// The path of the values file.
    pub path: String,
    /// The text of the values file, with a byte order mark if the copied file has one.
    pub text: String,
    /// The version of the hotfix.
    pub version: HotfixVersion,
    /// The addon's name in the path.
    pub addon: String,
    /// The path of the copied addon or hotfix.
    pub from: String,
    /// The version of the copied hotfix; `None` if an addon is copied.
    pub previous: Option<HotfixVersion>,
    /// The values that differ from the file at [`Self::from`], in file order.
    pub changes: Vec<ChangedValue>,
}

/// A changed value.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct ChangedValue {
    /// The path of the field, such as `spec.service.image`.
    pub path: String,
    /// The old value.
    pub old: String,
    /// The new value.
    pub new: String,
}
