//! `--shard`: sends a share of a bundle to a store.

use std::process::ExitCode;
use std::sync::Arc;

use compass_bundle::WriteOptions;
use compass_bundle::store::{ObjectStore, SentShard, Shard, ShardOptions};
use compass_registry::Digest;
use serde_json::{Value, json};

use super::super::publish::describe_bytes;
use super::{Args, warn_of_zstd};
use crate::display::{counted, human_bytes};
use crate::error::{CliError, Result};
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::packaging::{PlannedBundle, require_commit};

#[derive(Debug, clap::Args)]
pub(super) struct ShardArgs {
    /// Sends the I-th of N shares of the bundle to an object storage; the process that sends the last
    /// one completes it
    #[arg(long, value_name = "I/N", conflicts_with = "recompress")]
    shard: Option<Shard>,
    /// Does not read a bundle of several shards back to write its `.sha256`
    #[arg(long, requires = "shard", hide_short_help = true)]
    no_sha256: bool,
}

impl ShardArgs {
    /// Opens the bucket that the share is sent to. Returns `None` without `--shard`.
    pub(super) fn open_bucket(
        &self,
        args: &Args,
        global: &GlobalArgs,
    ) -> Result<Option<ObjectStore>> {
        if self.shard.is_none() {
            return Ok(None);
        }
        if !args.output.starts_with("s3://") && !args.output.starts_with("oss://") {
            let message = "`--shard` needs an object storage";
            return Err(CliError::usage(message).hint("name one: `-o s3://bucket/prefix`"));
        }
        let options = args.publication.store_options(global);
        Ok(Some(ObjectStore::open(&args.output, &options)?))
    }
}

/// Sends a share of a planned bundle.
pub(super) async fn send(
    args: &Args,
    bundle: PlannedBundle,
    bucket: &ObjectStore,
    output: &Output,
) -> Result<ExitCode> {
    if !args.publication.allow_uncommitted {
        require_commit(bundle.plan.document().commit.as_deref())?;
    }
    warn_of_zstd(&bundle.plan, false, output);
    let shard = args.shard.shard.unwrap_or(Shard::WHOLE);
    let options = ShardOptions::new(shard).checksum(!args.shard.no_sha256);
    let progress = output.progress("package");
    let write = WriteOptions::default().progress(progress.shared());
    let (digest, plan) = (bundle.plan.digest(), Arc::new(bundle.plan));
    let sent = bucket.write_shard(&plan, bundle.images, &options, &write).await?;
    drop((write, progress));
    output.result(|| to_json(&sent, shard, digest), || to_text(&sent, shard, digest));
    Ok(ExitCode::SUCCESS)
}

fn to_json(sent: &SentShard, shard: Shard, digest: Digest) -> Value {
    json!({
        "bundle": sent.url,
        "size": sent.size,
        "digest": digest,
        "sha256": sent.digest.map(|digest| digest.hex()),
        "shard": shard.to_string(),
        "complete": sent.missing_parts == 0,
        "missingParts": sent.missing_parts,
        "present": sent.present,
        "sent": sent.sent,
        "copied": sent.copied,
        "recompressed": [],
        "dryRun": false,
    })
}

fn to_text(sent: &SentShard, shard: Shard, digest: Digest) -> String {
    let SentShard { url, size, missing_parts: missing, .. } = sent;
    let transferred = describe_bytes(sent.present, sent.sent, sent.copied);
    if *missing > 0 {
        return format!(
            "shard {shard} of {url}: {transferred}\nmissing: {}, which other shards send\n",
            counted(*missing, "part")
        );
    }
    let checksum = sent.digest.map(|digest| format!("{}  ", digest.hex())).unwrap_or_default();
    let human = human_bytes(*size);
    format!("{checksum}{url}\n{size} bytes ({human}), {transferred}\ndigest {digest}\n")
}
