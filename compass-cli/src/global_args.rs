//! The options that every command has.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use compass_bundle::WriteOptions;
use compass_bundle::store::StoreOptions;
use compass_registry::{CopyOptions, Progress, RetryPolicy};

/// The options that `-h` omits are in the last lines of `compass -h`, and in the long help.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// The release repository [default: the one around the current directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) repo: Option<PathBuf>,
    /// The policy file [default: `.compass.yaml` in the release repository]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) policy: Option<PathBuf>,
    /// The format of results
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// Prints results only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Logs to stderr; repeat for more detail
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colors
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN",
          hide_short_help = true)]
    pub(crate) color: Color,
    /// The maximum number of blobs to transfer at once [default: depends on the command]
    #[arg(long, global = true, value_name = "N", hide_short_help = true,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: Option<u16>,
    /// Shows no progress
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) no_progress: bool,
    /// How long to retry when a registry refuses connections
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        default_value_t = 30,
        hide_short_help = true
    )]
    pub(crate) retry_connect: u64,
    /// The minimum average speed of a transfer over five minutes, in bytes per second; 0 disables it
    #[arg(
        long,
        global = true,
        value_name = "BYTES",
        default_value_t = 1024,
        hide_short_help = true
    )]
    pub(crate) min_speed: u64,
}

impl GlobalArgs {
    pub(crate) fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy::default()
            .connect_retry(Duration::from_secs(self.retry_connect))
            .min_speed(self.min_speed)
    }

    pub(crate) fn store_options(&self) -> StoreOptions {
        StoreOptions::default().retry(self.retry_policy())
    }

    pub(crate) fn copy_options(&self, progress: Arc<dyn Progress>) -> CopyOptions {
        let options = CopyOptions::default().progress(progress);
        let jobs = self.jobs.map_or(options.jobs, Into::into);
        options.jobs(jobs)
    }

    pub(crate) fn write_options(&self, progress: Arc<dyn Progress>) -> WriteOptions {
        WriteOptions::default().jobs(self.write_jobs()).progress(progress)
    }

    /// The number of blobs to write at once into a package.
    pub(crate) fn write_jobs(&self) -> usize {
        self.jobs.map_or_else(|| WriteOptions::default().jobs, Into::into)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Human,
    Json,
    /// SARIF for code scanning; `check` only
    Sarif,
    /// Workflow annotations; `check` only
    Github,
    /// Markdown for a comment; `diff` only
    Markdown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}
