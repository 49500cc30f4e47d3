//! Uploads in parts that leave nothing behind in the storage when they are not completed.

use std::sync::{LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use opendal::{ErrorKind, Writer};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// All uploads of this process.
static UPLOADS: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// Objects whose unfinished parts the storage kept, because it did not take the order to forget them.
static UNABORTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// An upload under way. It is a task of its own: wherever somebody stops waiting, a request that has
/// begun comes to its end, and what it began is known and can be given up.
pub(super) struct Upload {
    commands: mpsc::Sender<Command>,
    /// Nothing when the end has been reported.
    result: Option<oneshot::Receiver<opendal::Result<()>>>,
}

enum Command {
    Write(Bytes),
    Complete,
}

impl Upload {
    /// Begins with what nothing was written to yet. Unless [`Upload::complete`] is called, the
    /// storage is told to forget everything.
    pub(super) fn begin(writer: Writer, object: String) -> Self {
        let (commands, received) = mpsc::channel(1);
        let (end, result) = oneshot::channel();
        UPLOADS.spawn(async move {
            // Who has given up is told nothing.
            let _ = end.send(run(writer, received, object).await);
        });
        Self { commands, result: Some(result) }
    }

    /// Sends the next bytes. What failed before is reported here as well.
    pub(super) async fn write(&mut self, bytes: Bytes) -> opendal::Result<()> {
        match self.commands.send(Command::Write(bytes)).await {
            Ok(()) => Ok(()),
            Err(_) => self.end().await,
        }
    }

    /// Makes the object appear.
    pub(super) async fn complete(mut self) -> opendal::Result<()> {
        // Where it has failed already, its end says so.
        let _ = self.commands.send(Command::Complete).await;
        self.end().await
    }

    /// Waits until the storage has been told to forget everything.
    pub(super) async fn abort(self) {
        drop(self.commands);
        if let Some(result) = self.result {
            let _ = result.await;
        }
    }

    async fn end(&mut self) -> opendal::Result<()> {
        let result = async { self.result.take()?.await.ok() };
        let stopped = || opendal::Error::new(ErrorKind::Unexpected, "the upload has stopped");
        result.await.unwrap_or_else(|| Err(stopped()))
    }
}

/// Waits until uploads that nobody waits for any more are given up. Where a future of
/// [`ObjectStore`](super::ObjectStore) was dropped, a program calls this before it ends; otherwise
/// the storage may keep parts of an object that never appears, and its owner pays for them. It can
/// take as long as the storage does. Returns the objects of which the storage kept parts all the same.
pub async fn wait_for_pending_uploads() -> Vec<String> {
    UPLOADS.close();
    UPLOADS.wait().await;
    UPLOADS.reopen();
    std::mem::take(&mut *UNABORTED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Whether uploads are under way, or being given up.
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
        tracing::warn!(%error, "an unfinished upload stays in the store");
        UNABORTED.lock().unwrap_or_else(PoisonError::into_inner).push(object);
    }
    result
}
