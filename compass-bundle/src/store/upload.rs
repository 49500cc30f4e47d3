//! Multipart uploads that are aborted if they are not completed.

use std::sync::{LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use opendal::{ErrorKind, Writer};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// All uploads of this process.
static UPLOADS: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// Objects whose uploads could not be aborted.
static UNABORTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// An upload in progress. It runs in a task of its own, so that requests finish and the upload can
/// be aborted even if the caller's future is dropped.
pub(super) struct Upload {
    commands: mpsc::Sender<Command>,
    /// `None` after the result has been returned.
    result: Option<oneshot::Receiver<opendal::Result<()>>>,
}

enum Command {
    Write(Bytes),
    Complete,
}

impl Upload {
    /// Starts an upload with a fresh writer. Dropping it without [`Upload::complete`] aborts it.
    pub(super) fn begin(writer: Writer, object: String) -> Self {
        let (commands, received) = mpsc::channel(1);
        let (end, result) = oneshot::channel();
        UPLOADS.spawn(async move {
            // The receiver is gone if the upload was dropped.
            let _ = end.send(run(writer, received, object).await);
        });
        Self { commands, result: Some(result) }
    }

    /// Sends bytes. Returns earlier errors as well.
    pub(super) async fn write(&mut self, bytes: Bytes) -> opendal::Result<()> {
        match self.commands.send(Command::Write(bytes)).await {
            Ok(()) => Ok(()),
            Err(_) => self.end().await,
        }
    }

    /// Completes the upload, so that the object appears.
    pub(super) async fn complete(mut self) -> opendal::Result<()> {
        // If the task has ended, its result contains the error.
        let _ = self.commands.send(Command::Complete).await;
        self.end().await
    }

    /// Aborts the upload, and waits for it.
    pub(super) async fn abort(self) {
        drop(self.commands);
        if let Some(result) = self.result {
            let _ = result.await;
        }
    }

    async fn end(&mut self) -> opendal::Result<()> {
        let result = async { self.result.take()?.await.ok() };
        let stopped = || opendal::Error::new(ErrorKind::Unexpected, "the upload task stopped");
        result.await.unwrap_or_else(|| Err(stopped()))
    }
}

/// Waits until dropped uploads are aborted. Returns the objects whose uploads could not be aborted.
///
/// Programs must call this before they exit if a future of [`ObjectStore`](super::ObjectStore) was
/// dropped. Otherwise the storage may keep, and charge for, parts of incomplete objects. There is
/// no timeout.
pub async fn wait_for_pending_uploads() -> Vec<String> {
    UPLOADS.close();
    UPLOADS.wait().await;
    UPLOADS.reopen();
    std::mem::take(&mut *UNABORTED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Whether uploads are in progress or being aborted.
pub fn has_pending_uploads() -> bool {
    !UPLOADS.is_empty()
}

async fn run(
    mut writer: Writer,
    mut commands: mpsc::Receiver<Command>,
    object: String,
) -> opendal::Result<()> {
    let mut result = Ok(());
    while result.is_ok() {
        match commands.recv().await {
            Some(Command::Write(bytes)) => result = writer.write(bytes).await,
            Some(Command::Complete) => match writer.close().await {
                Ok(_) => return Ok(()),
                Err(error) => result = Err(error),
            },
            None => break,
        }
    }
    if let Err(error) = writer.abort().await {
        tracing::warn!(%error, "an incomplete upload could not be aborted");
        UNABORTED.lock().unwrap_or_else(PoisonError::into_inner).push(object);
    }
    result
}
