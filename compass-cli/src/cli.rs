//! What can be written on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use compass_registry::RetryPolicy;

use crate::commands::{
    bump, check, demo, diff, doctor, explain, extract, images, inspect, install, package, publish,
    review, serve, sync, verify,
};

/// Takes a release of the platform from its repository to a site without internet.
#[derive(Debug, Parser)]
#[command(name = "compass", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The release repository; otherwise the one around the current directory
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) repo: Option<PathBuf>,
    /// The policy file; otherwise `.compass.yaml` in the release repository
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// Prints results only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Says more about what happens; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
    /// How many blobs move at once
    #[arg(long, global = true, default_value_t = 8, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: u16,
    /// Shows no progress bars
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    /// How long a registry that refuses connections is asked again, in seconds
    #[arg(long, global = true, default_value_t = 30, value_name = "SECONDS")]
    pub(crate) retry_connect: u64,
    /// The least average speed of a transfer over five minutes, in bytes a second; 0 for none
    #[arg(long, global = true, default_value_t = 1024, value_name = "BYTES")]
    pub(crate) min_speed: u64,
}

impl Global {
    /// How what fails on the way is dealt with.
    pub(crate) fn retry(&self) -> RetryPolicy {
        RetryPolicy {
            connect_retry: Duration::from_secs(self.retry_connect),
            min_speed: self.min_speed,
            ..RetryPolicy::default()
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Human,
    Json,
    /// For code scanning; of `check` only
    Sarif,
    /// Annotations of a workflow run; of `check` only
    Github,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Checks the release repository by the rules
    Check(check::Args),
    /// Writes the next version of a target into the repository
    Bump(bump::Args),
    /// Explains a rule
    Explain(explain::Args),
    /// Lists the image references of a target, or of all
    Images(images::Args),
    /// Copies images from the source registry to the release registry
    Sync(sync::Args),
    /// Builds the install package of a target
    Package(package::Args),
    /// Shows what a bundle holds
    Inspect(inspect::Args),
    /// Proves that a bundle is, to the last bit, what was written
    Verify(verify::Args),
    /// Takes a file, an image, the YAML or everything out of a bundle
    Extract(extract::Args),
    /// Shows what differs between two bundles
    Diff(diff::Args),
    /// Puts a bundle into the store, where it never changes again
    Publish(publish::Args),
    /// Pushes the images of a bundle to a site's registry
    Install(install::Args),
    /// Tries out what a registry can do
    Doctor(doctor::Args),
    /// Says where a pull request stands in the queue, and what would bring it on
    Review(review::Args),
    /// Runs a registry that keeps its images in a directory
    Serve(serve::Args),
    /// Shows the whole road on this machine, with registries of its own
    Demo(demo::Args),
    /// Prints the version
    Version,
}

impl Command {
    /// Whether the command runs until it is told to stop.
    pub(crate) fn is_server(&self) -> bool {
        match self {
            Self::Serve(_) => true,
            Self::Demo(args) => args.keep,
            _ => false,
        }
    }

    /// What an interruption leaves, and what to do next.
    pub(crate) fn when_interrupted(&self) -> &'static str {
        match self {
            Self::Package(_) => {
                "the written part of the file is kept: the same command continues there"
            }
            Self::Sync(_) | Self::Install(_) => {
                "blobs and images that arrived are kept: the same command copies the rest"
            }
            Self::Publish(_) => "the store shows nothing unfinished: the same command uploads anew",
            Self::Extract(_) => "nothing unfinished is left: the same command extracts anew",
            _ => "nothing unfinished is left under a final name",
        }
    }
}
