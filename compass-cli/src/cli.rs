//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::{
    bot, bump, check, completions, demo, diff, doctor, explain, extract, images, init, inspect,
    install, installed, man, package, pr, publish, queue, release, review, serve, store, sync,
    verify,
};
use crate::global_args::GlobalArgs;

/// Takes a platform release from its repository to sites without internet access
#[derive(Debug, Parser)]
#[command(name = "compass", version, max_term_width = 100, help_template = HELP,
          after_help = GLOBAL_OPTIONS)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The help of `compass` itself, which fits a terminal of 40 lines.
const HELP: &str = "\
{about}

{usage-heading} {usage}

Commands:
{subcommands}{after-help}
";

/// The names of the global options. The help of each command describes them.
const GLOBAL_OPTIONS: &str = "\
Every command has --repo DIR, --policy FILE, --format json, -q, -v, --jobs N, --color WHEN, \
--no-progress, --retry-connect SECONDS and --min-speed BYTES.
`compass COMMAND -h` is a summary, and `compass COMMAND --help` describes all.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes a policy file that fits the repository
    Init(init::Args),
    /// Checks the release repository against the rules
    Check(check::Args),
    /// Writes the next version of a plugin or hotfix
    Bump(bump::Args),
    /// Explains a rule
    Explain(explain::Args),
    /// Lists the image references of a target or of all targets
    Images(images::Args),
    /// Copies images from the source registry to the release registry
    Sync(sync::Args),
    /// Builds the offline package (bundle) of a target
    Package(package::Args),
    /// Shows the contents of a bundle
    Inspect(inspect::Args),
    /// Verifies every byte of a bundle
    Verify(verify::Args),
    /// Extracts a file, an image, the YAML or everything from a bundle
    Extract(extract::Args),
    /// Shows the differences between two bundles
    Diff(diff::Args),
    /// Uploads a bundle to the store, where it becomes immutable
    Publish(publish::Args),
    /// Checks, syncs, packages and publishes a target
    Release(release::Args),
    /// Lists the bundles in a store, and removes interrupted uploads
    Store(store::Args),
    /// Installs bundles at a site: pushes images, hands the YAML over
    Install(install::Args),
    /// Lists the installed packages
    Installed(installed::Args),
    /// Tests which features a registry or an object storage supports
    Doctor(doctor::Args),
    /// Prints title, body and comment of a release pull request
    Pr(pr::Args),
    /// Shows a pull request's queue state and what the next step needs
    Review(review::Args),
    /// Lists the release pull requests that wait for a team, and does their work
    Queue(queue::Args),
    /// Keeps the release queue up to date, and shows it on web pages
    Bot(bot::Args),
    /// Serves images to other machines: those of bundles, or a registry in a directory
    Serve(serve::Args),
    /// Runs every step on this machine, with registries of its own
    Demo(demo::Args),
    /// Prints the completions for a shell
    Completions(completions::Args),
    /// Prints or writes the manual pages
    Man(man::Args),
    /// Prints the version
    Version,
}

impl Command {
    /// Whether the command runs until a signal stops it.
    pub(crate) fn is_server(&self) -> bool {
        match self {
            Self::Serve(_) | Self::Bot(_) => true,
            Self::Demo(args) => args.keep,
            _ => false,
        }
    }

    /// Whether the command ends its work in order after a signal.
    pub(crate) fn handles_signals(&self) -> bool {
        matches!(self, Self::Bot(_))
    }

    /// Whether the command writes data other than its result to stdout.
    pub(crate) fn reserves_stdout(&self) -> bool {
        match self {
            Self::Package(args) => args.writes_to_stdout(),
            Self::Extract(args) => args.writes_to_stdout(),
            _ => false,
        }
    }

    /// Returns a hint about what an interrupted command keeps, and how to continue.
    pub(crate) fn interruption_hint(&self) -> &'static str {
        match self {
            Self::Package(_) => "the written bytes are kept: run the same command to continue",
            Self::Sync(_) | Self::Install(_) => {
                "copied blobs and images are kept: run the same command to copy the rest"
            }
            Self::Release(_) => "the completed steps are kept: run the same command to continue",
            Self::Publish(_) => {
                "the uploaded parts are kept: run the same command to send the rest"
            }
            Self::Queue(_) => {
                "the completed work is kept: run the same command to continue with the others"
            }
            Self::Extract(_) => "no unfinished file is left: run the same command to extract again",
            _ => "no unfinished file is left under its final name",
        }
    }
}
