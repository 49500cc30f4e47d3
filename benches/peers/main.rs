//! `compass` beside the tools that people use today: the same work, on the same data, in turns.
//!
//! ```sh
//! cargo build --release && cargo run --release -p compass-benches
//! ```
//! With names behind `--`, only those comparisons: `package`, `package-link`, `pull`, `pull-link`,
//! `sync`, `sync-link`. `--rounds N` says how often (5 where nothing is said), `--data DIR` keeps the
//! images for the next time. Links delay every byte by 25 ms, and let 40 MB/s through each connection.
//!
//! Needs `docker-registry`, `curl` and GNU `time`. Of `skopeo`, `crane`, `regctl`, `imgpkg`, `pigz`
//! and `docker` it takes part what is installed; what is missing is said.

mod contest;
mod contests;
mod images;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use compass_benches::Failure;
use compass_registry::client::{Client, ClientOptions};
use compass_registry::layout::OciLayout;
use compass_registry::{CopyOptions, Repository, Tag, TagOrDigest, copy};

use self::contest::Arena;

/// What was typed.
#[derive(Debug, Default)]
struct Wanted {
    contests: Vec<String>,
    rounds: Option<usize>,
    data: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let result = match &arguments[..] {
        [mode, host, repository, directory] if mode == contests::TO_LAYOUT => {
            let work = to_layout(host.clone(), repository.clone(), directory.into());
            tokio::spawn(work).await.unwrap_or_else(|error| Err(error.into()))
        }
        arguments => match wanted(arguments) {
            Ok(wanted) => run(wanted).await,
            Err(error) => Err(error),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wanted(arguments: &[String]) -> Result<Wanted, Failure> {
    let mut wanted = Wanted::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("`{argument}` needs a value"));
        match argument.as_str() {
            "--rounds" => wanted.rounds = Some(value()?.parse()?),
            "--data" => wanted.data = Some(value()?.into()),
            name if contests::NAMES.contains(&name) => wanted.contests.push(name.to_owned()),
            other => {
                let known = contests::NAMES.join("`, `");
                return Err(format!("no comparison is named `{other}`, only `{known}`").into());
            }
        }
    }
    Ok(wanted)
}

async fn run(wanted: Wanted) -> Result<(), Failure> {
    let arena = Arena::open(wanted.data.as_deref(), wanted.rounds.unwrap_or(5)).await?;
    for contest in contests::all(&arena).await? {
        if wanted.contests.is_empty() || wanted.contests.iter().any(|name| name == contest.name) {
            arena.hold(&contest).await?;
        }
    }
    Ok(())
}

/// One image to an OCI layout, for which the command line has no command: the comparisons run it as a
/// process of its own.
async fn to_layout(host: String, repository: String, directory: PathBuf) -> Result<(), Failure> {
    let client = Arc::new(Client::new(&host, ClientOptions::default())?);
    let (name, tag): (Repository, Tag) = (repository.parse()?, images::TAG.parse()?);
    let locator = TagOrDigest::from(tag.clone());
    let layout = OciLayout::new(directory);
    let options = CopyOptions::default();
    copy(client, (&name, &locator), &layout, (&name, Some(&tag)), &options).await?;
    Ok(())
}
