//! `compass store`.

use std::process::ExitCode;

use compass_bundle::store::{ObjectStore, StoredBundle, UnfinishedUpload, open_store};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::display::{counted, human_bytes, printable};
use crate::error::{CliError, Result};
use crate::global_args::GlobalArgs;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, clap::Subcommand)]
enum StoreCommand {
    /// Lists the published bundles
    Ls(LsArgs),
    /// Removes the parts of interrupted uploads from an object storage
    Clean(CleanArgs),
}

#[derive(Debug, clap::Args)]
struct LsArgs {
    /// The store: `s3://bucket`, `oss://bucket` or `file:///path`
    #[arg(value_name = "URL")]
    store: String,
}

#[derive(Debug, clap::Args)]
struct CleanArgs {
    /// The store: `s3://bucket` or `oss://bucket`
    #[arg(value_name = "URL")]
    store: String,
    /// The minimum age of the uploads, such as `12h` or `3d`
    #[arg(long, value_name = "AGE", default_value = "1d", value_parser = parse_age)]
    older_than: SignedDuration,
    /// Lists the uploads, and removes nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    match &args.command {
        StoreCommand::Ls(args) => list(args, global, output).await,
        StoreCommand::Clean(args) => clean(args, global, output).await,
    }
}

async fn list(args: &LsArgs, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let bundles = open_store(&args.store, &global.store_options())?.list().await?;
    output.result(
        || json!({"bundles": bundles.iter().map(bundle_json).collect::<Vec<_>>()}),
        || bundles.iter().map(bundle_line).collect(),
    );
    Ok(ExitCode::SUCCESS)
}

fn bundle_line(bundle: &StoredBundle) -> String {
    let (kind, size) = (json!(bundle.kind), human_bytes(bundle.size));
    let kind = kind.as_str().unwrap_or_default();
    let (name, version) = (printable(&bundle.name), printable(&bundle.version));
    let digest = bundle.digest.map_or_else(|| "no .sha256".to_owned(), |digest| digest.hex());
    let published = printable(&bundle.published);
    format!("{kind:<8} {name:<24} {version:<24} {size:>12}  {published}  {digest}\n")
}

fn bundle_json(bundle: &StoredBundle) -> Value {
    json!({
        "kind": bundle.kind,
        "name": bundle.name,
        "version": bundle.version,
        "url": bundle.url,
        "size": bundle.size,
        "published": bundle.published,
        "sha256": bundle.digest.map(|digest| digest.hex()),
    })
}

async fn clean(args: &CleanArgs, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let store = open_bucket(&args.store, global)?;
    let limit = Timestamp::now() - args.older_than;
    let mut uploads = store.unfinished_uploads().await?;
    // An upload whose age is unknown may be in use.
    uploads
        .retain(|upload| upload.started.parse::<Timestamp>().is_ok_and(|started| started <= limit));
    if !args.dry_run {
        for upload in &uploads {
            store.abort(upload).await?;
        }
    }
    output.result(
        || {
            let listed: Vec<_> = uploads.iter().map(upload_json).collect();
            json!({"uploads": listed, "dryRun": args.dry_run})
        },
        || {
            let action = if args.dry_run { "would remove" } else { "removed" };
            uploads.iter().map(|upload| upload_line(upload, action)).collect()
        },
    );
    Ok(ExitCode::SUCCESS)
}

/// Opens a store that can have unfinished uploads.
pub(super) fn open_bucket(url: &str, global: &GlobalArgs) -> Result<ObjectStore> {
    if url.starts_with("file://") {
        let message = "only object storages have unfinished uploads";
        return Err(CliError::usage(message).hint("name a store like `s3://bucket/prefix`"));
    }
    Ok(ObjectStore::open(url, &global.store_options())?)
}

fn upload_line(upload: &UnfinishedUpload, action: &str) -> String {
    let (size, started) = (human_bytes(upload.size), printable(&upload.started));
    let (url, parts) = (printable(&upload.url), counted(upload.parts, "part"));
    format!("{action} {url} ({parts}, {size}, begun {started})\n")
}

fn upload_json(upload: &UnfinishedUpload) -> Value {
    json!({
        "url": upload.url,
        "started": upload.started,
        "parts": upload.parts,
        "size": upload.size,
    })
}

/// Parses an age: a number and a unit of minutes, hours, days or weeks.
fn parse_age(text: &str) -> std::result::Result<SignedDuration, String> {
    let invalid = || "expected a number and `m`, `h`, `d` or `w`, such as `3d`".to_owned();
    let unit = text.chars().next_back().ok_or_else(invalid)?;
    let minutes = match unit {
        'm' => 1,
        'h' => 60,
        'd' => 24 * 60,
        'w' => 7 * 24 * 60,
        _ => return Err(invalid()),
    };
    let number: u32 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| invalid())?;
    Ok(SignedDuration::from_mins(i64::from(number) * minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_age_reads_units() {
        assert_eq!(parse_age("90m"), Ok(SignedDuration::from_mins(90)));
        assert_eq!(parse_age("3d"), Ok(SignedDuration::from_hours(72)));
        assert_eq!(parse_age("2w"), Ok(SignedDuration::from_hours(24 * 14)));
        for text in ["", "d", "3", "3y", "-1d", "1.5h", "3天"] {
            assert!(parse_age(text).is_err(), "{text}");
        }
    }
}
