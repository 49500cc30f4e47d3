//! Hands rendered files over: to a directory, to a command, or to the plugin center.

mod apply;
mod directory;
mod plugin_center;

use std::fmt;
use std::path::PathBuf;

use compass_manifest::escape::escape;

use super::manifests::RenderedFile;
use super::receipts::History;
use crate::error::Result;
use crate::output::Output;
use plugin_center::PluginCenter;

#[derive(Debug, Default, clap::Args)]
#[group(multiple = false)]
pub(crate) struct HandOverArgs {
    /// Writes the rendered YAML to a directory
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Runs a command for each rendered file; `{}` stands for its path
    #[arg(long, value_name = "COMMAND")]
    apply: Option<String>,
    /// Creates or updates the plugin in the plugin center at this URL. The token comes from
    /// `COMPASS_PLUGIN_CENTER_TOKEN`
    #[arg(long, value_name = "URL")]
    plugin_center: Option<String>,
}

/// Where rendered files go.
pub(crate) enum HandOver {
    Directory(PathBuf),
    Command(String),
    PluginCenter(PluginCenter),
}

/// The package that files belong to.
#[derive(Clone, Copy)]
pub(crate) struct Release<'r> {
    pub(crate) kind: &'r str,
    pub(crate) name: &'r str,
    pub(crate) version: &'r str,
}

impl HandOver {
    /// Returns the hand-over that the arguments choose; `None` if they choose none.
    pub(crate) fn of(args: &HandOverArgs) -> Result<Option<Self>> {
        Ok(match args {
            HandOverArgs { output: Some(directory), .. } => {
                Some(Self::Directory(directory.clone()))
            }
            HandOverArgs { apply: Some(command), .. } => {
                apply::check(command)?;
                Some(Self::Command(command.clone()))
            }
            HandOverArgs { plugin_center: Some(url), .. } => {
                Some(Self::PluginCenter(PluginCenter::from_environment(url)?))
            }
            _ => None,
        })
    }

    /// Checks the hand-over before anything is pushed.
    pub(crate) async fn check(&self, release: Release<'_>, files: &[RenderedFile]) -> Result<()> {
        match self {
            Self::Directory(directory) => directory::check(directory, release, files),
            Self::Command(_) => Ok(()),
            Self::PluginCenter(center) => center.check(release).await,
        }
    }

    /// Returns the directory that the files are written to; `None` for other ways.
    pub(crate) fn directory_of(&self, release: Release<'_>) -> Option<PathBuf> {
        match self {
            Self::Directory(directory) => Some(directory::root(directory, release)),
            _ => None,
        }
    }

    /// Hands the files over in order.
    ///
    /// # Errors
    /// The first error, which names the files that were handed over. A second run continues there.
    pub(crate) async fn run(
        &self,
        release: Release<'_>,
        files: &[RenderedFile],
        history: &History,
        output: &Output,
    ) -> Result<()> {
        match self {
            Self::Directory(directory) => directory::write(directory, release, files),
            Self::Command(command) => apply::run(command, files, history, output).await,
            Self::PluginCenter(center) => center.submit(release, files).await,
        }
    }
}

impl fmt::Display for HandOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => {
                write!(f, "directory {}", escape(&directory.to_string_lossy()))
            }
            Self::Command(command) => write!(f, "command {}", escape(command)),
            Self::PluginCenter(center) => write!(f, "plugin center {center}"),
        }
    }
}
