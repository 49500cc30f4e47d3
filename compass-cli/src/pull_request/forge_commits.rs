//! Reads the commits of a pull request through the interface of the forge, if `origin` does not have
//! them.
//!
//! Only what the clone lacks is read. The files of both sides are written as git objects into a private
//! clone; nothing of them is run.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::block_in_place;

use crate::error::{CliError, Result};
use crate::forge::{Forge, PullRequest};
use crate::git::{CommitImport, Git, ImportedCommit, ImportedFile, PrivateClone};

/// The maximum number of files of a commit.
const MAX_FILES: usize = 50_000;

/// The maximum number of files that are read, each with a request. GitHub allows 5000 requests an hour.
const MAX_BLOBS: usize = 1_000;

/// The maximum size of all files that are read, in bytes.
const MAX_BYTES: usize = 64 << 20;

/// The number of files that are read at once.
const JOBS: usize = 8;

/// Creates a private clone with the head of a pull request and its base branch.
///
/// # Errors
/// If the forge does not send the commits, or more is missing than the limits permit.
pub(super) async fn read(
    forge: &dyn Forge,
    clone: &Git,
    pull: &PullRequest,
) -> Result<PrivateClone> {
    let head = &pull.head.commit;
    let base = forge.branch_commit(&pull.base.name).await?;
    let merge_base = forge.merge_base(&base, head).await?;
    let mut import = block_in_place(|| clone.import_commits())?;
    for (commit, parent) in
        [(&merge_base, None), (&base, Some(&merge_base)), (head, Some(&merge_base))]
    {
        if !block_in_place(|| import.has(commit))? {
            add_commit(forge, &mut import, commit, parent).await?;
        }
    }
    add_blobs(forge, &import).await?;
    block_in_place(|| import.open(head, &base))
}

async fn add_commit(
    forge: &dyn Forge,
    import: &mut CommitImport,
    commit: &str,
    parent: Option<&String>,
) -> Result<()> {
    let known = forge.commit(commit).await?;
    let entries = forge.tree(commit).await?;
    if entries.len() > MAX_FILES {
        return Err(too_much(&format!("{commit} has more than {MAX_FILES} files")));
    }
    let files = entries.into_iter().map(|entry| ImportedFile {
        path: entry.path,
        mode: entry.mode,
        object: entry.object,
    });
    let files = files.collect();
    let (tree, parent) = (known.tree.as_str(), parent.map(String::as_str));
    let added = ImportedCommit { commit, tree, parent, seconds: known.seconds, files };
    block_in_place(|| import.add(&added))
}

async fn add_blobs(forge: &dyn Forge, import: &CommitImport) -> Result<()> {
    let missing = block_in_place(|| import.missing_blobs())?;
    if missing.len() > MAX_BLOBS {
        return Err(too_much(&format!("{} files are missing in the clone", missing.len())));
    }
    tracing::info!(files = missing.len(), "reads files through the interface of the forge");
    let read = missing.iter().map(|object| async move { Ok((object, forge.blob(object).await?)) });
    let mut read = stream::iter(read).buffer_unordered(JOBS);
    let mut bytes = 0;
    while let Some((object, content)) = read.try_next().await.map_err(|error: CliError| error)? {
        bytes += content.len();
        if bytes > MAX_BYTES {
            return Err(too_much(&format!(
                "the missing files have more than {} MiB",
                MAX_BYTES >> 20
            )));
        }
        block_in_place(|| import.add_blob(object, &content))?;
    }
    Ok(())
}

fn too_much(what: &str) -> CliError {
    CliError::usage(format!("too much to read through the interface of the forge: {what}"))
        .into_external()
}
