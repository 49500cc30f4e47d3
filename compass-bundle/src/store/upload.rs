//! Uploads in parts that leave nothing behind in the storage when they are not completed.

use std::sync::{LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use opendal::{ErrorKind, Writer};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// All uploads of this process.
static UPLOADS: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// Objects whose unfinished parts the storage kept, because it did not take the order to forget them.
static LEFT: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// An upload under way. It is a task of its own: wherever somebody stops waiting, a request that has
/// begun comes to its end, and what it began is known and can be given up.
pub(super) struct Upload {
    steps: mpsc::Sender<Step>,
    /// Nothing when the end has been reported.
    ended: Option<oneshot::Receiver<opendal::Result<()>>>,
}

enum Step {
    Write(Bytes),
    Complete,
}

impl Upload {
    /// Begins with what nothing was written to yet. Unless [`Upload::complete`] is called, the
    /// storage is told to forget everything.
    pub(super) fn begin(writer: Writer, object: String) -> Self {
        let (steps, received) = mpsc::channel(1);
        let (end, ended) = oneshot::channel();
        UPLOADS.spawn(async move {
            // Who has given up is told nothing.
            let _ = end.send(run(writer, received, object).await);
        });
        Self { steps, ended: Some(ended) }
    }

    /// Sends the next bytes. What failed before is reported here as well.
    pub(super) async fn write(&mut self, bytes: Bytes) -> opendal::Result<()> {
        match self.steps.send(Step::Write(bytes)).await {
            Ok(()) => Ok(()),
            Err(_) => self.end().await,
        }
    }

    /// Makes the object appear.
    pub(super) async fn complete(mut self) -> opendal::Result<()> {
        // Where it has failed already, its end says so.
        let _ = self.steps.send(Step::Complete).await;
        self.end().await
    }

    /// Waits until the storage has been told to forget everything.
    pub(super) async fn give_up(self) {
        drop(self.steps);
        if let Some(ended) = self.ended {
            let _ = ended.await;
        }
    }

    async fn end(&mut self) -> opendal::Result<()> {
        let ended = async { self.ended.take()?.await.ok() };
        let stopped = || opendal::Error::new(ErrorKind::Unexpected, "the upload has stopped");
        ended.await.unwrap_or_else(|| Err(stopped()))
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
    std::mem::take(&mut *LEFT.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Whether uploads are under way, or being given up.
pub fn has_pending_uploads() -> bool {
    !UPLOADS.is_empty()
}

async fn run(
    mut writer: Writer,
    mut steps: mpsc::Receiver<Step>,
    object: String,
) -> opendal::Result<()> {
    let mut result = Ok(());
    while result.is_ok() {
        match steps.recv().await {
            Some(Step::Write(bytes)) => result = writer.write(bytes).await,
            Some(Step::Complete) => match writer.close().await {
                Ok(_) => return Ok(()),
                Err(error) => result = Err(error),
            },
            None => break,
        }
    }
    if let Err(error) = writer.abort().await {
        tracing::warn!(%error, "an unfinished upload stays in the store");
        LEFT.lock().unwrap_or_else(PoisonError::into_inner).push(object);
    }
    result
}
