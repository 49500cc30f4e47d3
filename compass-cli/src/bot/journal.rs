//! The journal of received deliveries, which survives the end of the process.
//!
//! A delivery is acknowledged only after its line is on disk. A line is finished when the pull request
//! was looked at. One for all open pull requests is finished when they are queued, because each start
//! queues them again. The file contains JSON lines; it is rewritten without the
//! finished ones when it becomes large, and at each start.

mod file;

use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use self::file::JournalFile;
use crate::error::Result;

/// The number of lines that may wait for the disk. Further deliveries wait in their connections.
const MAX_WAITING: usize = 1024;

/// What a delivery asks to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Task {
    /// One pull request.
    Pull(u64),
    /// All open pull requests.
    Scan,
}

/// A task with the number of its last delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) task: Task,
    pub(super) delivery: u64,
}

/// The journal. Clones write to the same file, which is closed when all of them are dropped.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    commands: mpsc::Sender<Command>,
}

/// The error if a delivery could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot write the journal: {0}")]
pub(super) struct JournalError(String);

enum Command {
    Receive {
        id: String,
        task: Task,
        written: oneshot::Sender<Result<u64, JournalError>>,
    },
    Finish(Pending),
    /// Answers after all commands before are done.
    Flush(oneshot::Sender<Result<(), JournalError>>),
}

impl Journal {
    /// Opens the journal in a directory; returns the unfinished tasks.
    ///
    /// # Errors
    /// If the directory cannot be written, or another process uses it.
    pub(super) fn open(directory: &Path) -> Result<(Self, Vec<Pending>)> {
        let file = JournalFile::open(directory)?;
        let pending = file.pending();
        let (commands, received) = mpsc::channel(MAX_WAITING);
        std::thread::spawn(move || write_all(file, received));
        Ok((Self { commands }, pending))
    }

    /// Writes a delivery to the disk; returns its number.
    pub(super) async fn receive(&self, id: &str, task: Task) -> Result<u64, JournalError> {
        let (written, result) = oneshot::channel();
        let command = Command::Receive { id: id.to_owned(), task, written };
        self.commands.send(command).await.map_err(|_| closed())?;
        result.await.map_err(|_| closed())?
    }

    /// Finishes a task up to a delivery. After a crash, the task may be done again.
    pub(super) async fn finish(&self, done: Pending) {
        if self.commands.send(Command::Finish(done)).await.is_err() {
            tracing::warn!("the journal is closed");
        }
    }

    /// Writes everything to the disk.
    ///
    /// # Errors
    /// If this or the last write of deliveries failed.
    pub(super) async fn flush(&self) -> Result<(), JournalError> {
        let (written, result) = oneshot::channel();
        self.commands.send(Command::Flush(written)).await.map_err(|_| closed())?;
        result.await.map_err(|_| closed())?
    }
}

fn closed() -> JournalError {
    JournalError("its thread ended".to_owned())
}

/// Writes commands until the journal is dropped. The commands that wait share one write.
fn write_all(mut file: JournalFile, mut received: mpsc::Receiver<Command>) {
    let mut commands = Vec::new();
    // Later writes of finished lines do not hide that deliveries are rejected.
    let mut last_received = Ok(());
    while received.blocking_recv_many(&mut commands, MAX_WAITING) > 0 {
        let mut answers = Vec::new();
        let mut flushes = Vec::new();
        for command in commands.drain(..) {
            match command {
                Command::Receive { id, task, written } => {
                    answers.push((file.add_received(&id, task), written));
                }
                Command::Finish(done) => file.add_finished(done),
                Command::Flush(written) => flushes.push(written),
            }
        }
        let result = file.write().map_err(|error| JournalError(error.to_string()));
        if let Err(error) = &result {
            tracing::warn!(%error, "deliveries are rejected");
        }
        if !answers.is_empty() {
            last_received.clone_from(&result);
        }
        // A receiver that was dropped has no connection any more.
        for (number, written) in answers {
            let _ = written.send(result.clone().map(|()| number));
        }
        for written in flushes {
            let _ = written.send(result.clone().and_then(|()| last_received.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn journal_keeps_unfinished_tasks() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, pending) = Journal::open(directory.path()).unwrap();
        assert_eq!(pending, []);
        let first = journal.receive("a", Task::Pull(7)).await.unwrap();
        let second = journal.receive("b", Task::Pull(8)).await.unwrap();
        let scan = journal.receive("c", Task::Scan).await.unwrap();
        journal.finish(Pending { task: Task::Pull(8), delivery: second }).await;
        // This delivery came while the pull request was looked at.
        let later = journal.receive("d", Task::Pull(7)).await.unwrap();
        journal.finish(Pending { task: Task::Pull(7), delivery: first }).await;
        journal.flush().await.unwrap();
        drop(journal);
        let (_journal, pending) = reopen(directory.path()).await;
        let expected = [(Task::Pull(7), later), (Task::Scan, scan)];
        assert_eq!(pending, expected.map(|(task, delivery)| Pending { task, delivery }));
    }

    #[tokio::test]
    async fn journal_burst_shares_writes() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(directory.path()).unwrap();
        let receive = |number: u64| {
            let journal = journal.clone();
            async move { journal.receive(&format!("id-{number}"), Task::Pull(number)).await.unwrap() }
        };
        let numbers = futures_util::future::join_all((0..3000).map(receive)).await;
        let distinct: std::collections::BTreeSet<_> = numbers.iter().collect();
        assert_eq!(distinct.len(), 3000);
        drop(journal);
        assert_eq!(reopen(directory.path()).await.1.len(), 3000);
    }

    /// Opens the journal as soon as the thread of the last one has closed it.
    async fn reopen(directory: &Path) -> (Journal, Vec<Pending>) {
        loop {
            match Journal::open(directory) {
                Ok(opened) => return opened,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        }
    }
}
