//! Compares `compass` with other tools that do the same work, in turn.
//!
//! ```sh
//! cargo build --release && cargo run --release -p compass-benches
//! ```
//! Arguments after `--` select comparisons: `package`, `package-link`, `product`, `product-link`,
//! `pull`, `pull-link`, `sync`, `sync-link`, `sync-serve`, `install-serve`; without any, all run.
//! Links delay every byte by 25 ms in each direction, and let 40 MB/s through each connection.
//!
//! - `--rounds N`: measures each tool N times, 5 by default, and prints the median.
//! - `--data DIR`: keeps the images in a directory for the next run.
//! - `--base PROGRAM`: compares with another build of `compass` as well.
//! - `--jobs N,N`: runs `compass sync` and `compass install` with these values of `--jobs`, instead
//!   of its default.
//! - `--table FILE`: also writes the tables to a file.
//!
//! Requires `docker-registry`, `curl` and GNU `time`. Of `skopeo`, `crane`, `regctl`, `imgpkg`,
//! `pigz` and `docker`, those that are installed are compared; the tables name the others.

mod comparison;
mod comparisons;
mod environment;
mod images;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use compass_benches::BenchError;
use compass_registry::client::{Client, ClientOptions};
use compass_registry::layout::OciLayout;
use compass_registry::{Destination, ImageRef, Repository, Tag, copy};

use self::environment::Environment;

/// The arguments of the command line.
#[derive(Debug, Default)]
struct Args {
    comparisons: Vec<String>,
    rounds: Option<usize>,
    data: Option<PathBuf>,
    base: Option<PathBuf>,
    jobs: Vec<u32>,
    table: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let result = match &arguments[..] {
        [mode, host, repository, directory] if mode == comparisons::TO_LAYOUT => {
            let work = to_layout(host.clone(), repository.clone(), directory.into());
            tokio::spawn(work).await.unwrap_or_else(|error| Err(error.into()))
        }
        arguments => match parse(arguments) {
            Ok(args) => run(args).await,
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

fn parse(arguments: &[String]) -> Result<Args, BenchError> {
    let mut args = Args::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("`{argument}` needs a value"));
        match argument.as_str() {
            "--rounds" => args.rounds = Some(value()?.parse()?),
            "--data" => args.data = Some(value()?.into()),
            "--base" => args.base = Some(std::path::absolute(value()?)?),
            "--jobs" => {
                args.jobs = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--table" => args.table = Some(value()?.into()),
            name if comparisons::NAMES.contains(&name) => args.comparisons.push(name.to_owned()),
            other => {
                let known = comparisons::NAMES.join("`, `");
                return Err(format!("unknown comparison `{other}`: expected `{known}`").into());
            }
        }
    }
    Ok(args)
}

async fn run(args: Args) -> Result<(), BenchError> {
    let Args { comparisons: names, rounds, data, base, jobs, table } = args;
    let environment = Environment::open(data.as_deref(), base, jobs).await?;
    let mut tables = String::new();
    for comparison in comparisons::all(&environment)? {
        if names.is_empty() || names.iter().any(|name| name == comparison.name) {
            let table = comparison.run(&environment, rounds.unwrap_or(5).max(1)).await?;
            println!("{table}");
            tables += &table;
        }
    }
    if let Some(file) = table {
        std::fs::write(file, tables)?;
    }
    Ok(())
}

/// Copies an image to an OCI layout.
/// The comparisons run this as a process, because `compass` has no command for it.
async fn to_layout(host: String, repository: String, directory: PathBuf) -> Result<(), BenchError> {
    let client = Arc::new(Client::new(&host, ClientOptions::default())?);
    let (name, tag): (Repository, Tag) = (repository.parse()?, images::TAG.parse()?);
    let (from, to) = (ImageRef::new(name.clone(), tag.clone()), Destination::new(name, tag));
    copy(client, &from, Arc::new(OciLayout::new(directory)), &to).await?;
    Ok(())
}
