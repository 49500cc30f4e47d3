//! The thread that hashes the file as it grows and passes its bytes to the I/O threads.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use compass_registry::direct_io::AlignedBuffer;
use compass_registry::{Digest, Hasher};
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::Checkpoint;
use super::file_hasher::OutOfOrderHasher;
use super::inline_hasher::InlineBlobHasher;
use super::io_pool::{Completion, Write, WriterPool, WriterShared};
use crate::Error;

/// A command to the writer.
pub(super) enum Command {
    /// Writes bytes. Bytes that are not final may be replaced, and are not hashed yet.
    Write { offset: u64, bytes: AlignedBuffer, is_final: bool, checkpoint: Option<Checkpoint> },
    /// Records a checkpoint after all writes before it.
    Checkpoint(Checkpoint),
    /// Also hashes a blob whose bytes arrive in order from now on.
    HashInline(InlineBlobHasher),
    /// Returns the hasher of a blob, if it is the one that is hashed inline.
    TakeHasher(usize, oneshot::Sender<Option<Hasher>>),
    /// Makes the bytes in this range final.
    Committed(Range<u64>),
    /// Replies when all writes before it are complete.
    Barrier(oneshot::Sender<()>),
}

/// Executes all commands and returns the size and the digest of the file.
pub(super) fn run(
    shared: &WriterShared,
    file: File,
    mut commands: mpsc::Receiver<Command>,
    path: &Path,
) -> Result<(u64, Digest), Error> {
    std::thread::scope(|scope| {
        let mut writer = Writer {
            file_hasher: OutOfOrderHasher::new(file),
            inline: None,
            shared,
            pool: shared.start(scope),
            next_number: 0,
            path,
        };
        while let Some(command) = commands.blocking_recv() {
            writer.execute(command)?;
        }
        writer.finish()
    })
}

struct Writer<'r> {
    file_hasher: OutOfOrderHasher,
    /// The blob that is hashed together with the file.
    inline: Option<InlineBlobHasher>,
    shared: &'r WriterShared,
    pool: WriterPool,
    next_number: u64,
    path: &'r Path,
}

impl Writer<'_> {
    fn execute(&mut self, command: Command) -> Result<(), Error> {
        match command {
            Command::Write { offset, bytes, is_final, checkpoint } => {
                let hashed = is_final && self.hash(offset, bytes.bytes())?;
                let number = self.take_number();
                let (via_page_cache, needs_hashing) = (!hashed, is_final && !hashed);
                let write =
                    Write { number, offset, bytes, checkpoint, via_page_cache, needs_hashing };
                self.pool.write(write)?;
                while let Some(completion) = self.pool.try_complete()? {
                    self.completed(completion)?;
                }
            }
            Command::Checkpoint(checkpoint) => {
                let number = self.take_number();
                self.shared.completed(number, Some(checkpoint))?;
            }
            Command::HashInline(blob) => self.inline = Some(blob),
            Command::TakeHasher(blob, reply) => {
                let inline = self.inline.take_if(|inline| inline.blob() == blob);
                // This fails only if the task of the blob was dropped.
                let _ = reply.send(inline.map(InlineBlobHasher::into_hasher));
            }
            Command::Committed(range) => {
                self.drain()?;
                self.commit(range)?;
            }
            Command::Barrier(reply) => {
                self.drain()?;
                // This fails only if the task of the blob was dropped.
                let _ = reply.send(());
            }
        }
        Ok(())
    }

    fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    fn hash(&mut self, offset: u64, bytes: &[u8]) -> Result<bool, Error> {
        let inline = self.inline.as_mut().filter(|blob| blob.next() == offset);
        self.file_hasher.feed(offset, bytes, inline).map_err(Error::io("read", self.path))
    }

    fn completed(&mut self, completion: Completion) -> Result<(), Error> {
        if completion.needs_hashing { self.commit(completion.range) } else { Ok(()) }
    }

    fn commit(&mut self, range: Range<u64>) -> Result<(), Error> {
        self.file_hasher.committed(range).map_err(Error::io("read", self.path))
    }

    /// Waits until all writes are complete.
    fn drain(&mut self) -> Result<(), Error> {
        while let Some(completion) = self.pool.complete()? {
            self.completed(completion)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(u64, Digest), Error> {
        self.drain()?;
        Ok(self.file_hasher.finish())
    }
}
