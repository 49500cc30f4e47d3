//! Release manifests of a Compass release repository, without I/O.
//!
//! This crate knows no file system, network, clock, environment or async: callers hand it text and
//! get data back.
//!
//! ```
//! use compass_manifest::version::{HotfixVersion, PluginVersion};
//!
//! let plugin: PluginVersion = "v0.1.1".parse()?;
//! let hotfix: HotfixVersion = "v2.7.0-20180605-p1".parse()?;
//! assert_eq!(plugin.to_string(), "v0.1.1");
//! assert_eq!(hotfix.base().to_string(), "v2.7.0");
//! # Ok::<(), compass_manifest::version::VersionError>(())
//! ```

pub mod image;
pub mod version;
