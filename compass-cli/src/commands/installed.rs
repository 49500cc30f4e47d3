//! `compass installed`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::display::printable;
use crate::error::Result;
use crate::output::Output;
use crate::site::receipts::{Receipt, Receipts};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory of the receipts [default: `$XDG_STATE_HOME/compass/receipts`]
    #[arg(long, value_name = "DIR")]
    receipts: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    if let Some(directory) = args.receipts.as_ref().filter(|directory| !directory.is_dir()) {
        output.warn(&format!("there is no directory {}", directory.display()));
    }
    let (installed, errors) = Receipts::new(args.receipts.as_deref())?.installed()?;
    for error in &errors {
        output.error(error);
    }
    output.result(
        || {
            let installed: Vec<_> = installed
                .iter()
                .map(|receipt| {
                    json!({
                        "kind": receipt.kind,
                        "name": receipt.name,
                        "version": receipt.version,
                        "digest": receipt.digest,
                        "registry": receipt.registry,
                        "time": receipt.time,
                        "handOver": receipt.hand_over,
                        "images": receipt.images,
                    })
                })
                .collect();
            let errors: Vec<_> =
                errors.iter().map(|error| error.to_json()["error"].clone()).collect();
            json!({"installed": installed, "errors": errors})
        },
        || installed.iter().map(line).collect(),
    );
    if installed.is_empty() && errors.is_empty() {
        output.status("nothing is installed");
    }
    let failed = errors.iter().map(|error| error.exit).max();
    Ok(failed.map_or(ExitCode::SUCCESS, ExitCode::from))
}

fn line(receipt: &Receipt) -> String {
    let Receipt { kind, name, version, registry, time, .. } = receipt;
    let name = printable(name);
    let files = if receipt.hand_over.is_some() { "" } else { ", images only" };
    format!("{kind} {name} {} ({registry}, {time}{files})\n", printable(version))
}
