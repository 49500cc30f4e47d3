//! `compass bot`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;

use super::serve::{address, raise_open_file_limit};
use crate::bot::{Bot, BotOptions, ReleaseWork, WebhookSecret};
use crate::error::{CliError, Result};
use crate::forge::{ForgeArgs, RepoName, open_forge};
use crate::fs::state_directory;
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::pull_request::Reviewer;
use crate::signals::Interruptions;

/// The number of pull requests that are looked at at once without `--jobs`.
const DEFAULT_JOBS: usize = 2;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    forge: ForgeArgs,
    /// The address to listen at, for webhooks and the board; port 0 selects a free port
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "HOST:PORT", value_parser = address)]
    listen: String,
    /// How often all open pull requests are looked at, such as `5m`
    #[arg(long, default_value = "5m", value_name = "INTERVAL", value_parser = interval)]
    scan_every: Duration,
    /// Also does the work of the teams, as `compass queue --run` does: copies images, publishes packages,
    /// and comments
    #[arg(long)]
    work: bool,
    /// The directory with the journal of the received webhooks [default:
    /// `~/.local/state/compass/bot/OWNER/REPO`]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let mut interruptions = Interruptions::listen();
    let secret = WebhookSecret::from_environment()?;
    let forge = open_forge(&args.forge)?;
    let repository = forge.repository().clone();
    let directory = match &args.state {
        Some(directory) => directory.clone(),
        None => default_directory(&repository)?,
    };
    // The option counts pull requests here; each of them uses the default number of transfers.
    let own_global = GlobalArgs { jobs: None, ..global.clone() };
    let reviewer = Reviewer::open(forge, &own_global, &output.silenced())?;
    let work = ReleaseWork::new(reviewer, args.work);
    if let Some(weakness) = secret.weakness() {
        output.warn(&weakness);
    }
    raise_open_file_limit();
    let options = BotOptions {
        repository: repository.clone(),
        secret,
        listen: args.listen.clone(),
        directory: directory.clone(),
        scan_interval: args.scan_every,
        jobs: global.jobs.map_or(DEFAULT_JOBS, Into::into),
    };
    let bot = Bot::start(options, work).await?;
    let host = bot.host();
    if !host.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback()) {
        output.warn("the board has no login: every client that can reach this address can read it");
    }
    let repository = repository.to_string();
    output.result(
        || json!({"host": host, "repository": repository, "directory": directory, "work": args.work}),
        || {
            format!(
                "http://{host}/ shows the releases of {repository}, and http://{host}/webhook receives its \
                 webhooks; stop the bot with Ctrl-C\n"
            )
        },
    );
    // A signal is the regular end of a server.
    interruptions.next().await;
    output.status("stopping");
    bot.stop().await;
    Ok(ExitCode::SUCCESS)
}

fn default_directory(repository: &RepoName) -> Result<PathBuf> {
    let RepoName { owner, name } = repository;
    let directory = state_directory().map(|state| state.join("bot").join(owner).join(name));
    directory.ok_or_else(|| {
        CliError::usage("the directory of the journal is unknown, because HOME is not set")
            .hint("name it with `--state`")
    })
}

/// Parses an interval between a second and a day.
fn interval(text: &str) -> std::result::Result<Duration, &'static str> {
    let interval = text.parse::<SignedDuration>().ok().and_then(|one| Duration::try_from(one).ok());
    interval
        .filter(|interval| (Duration::from_secs(1)..=Duration::from_hours(24)).contains(interval))
        .ok_or("expected an interval between `1s` and `24h`, such as `5m`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_reads_units() {
        assert_eq!(interval("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(interval("90s"), Ok(Duration::from_secs(90)));
        for text in ["", "5", "0s", "-1m", "2d", "25h", "m"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
