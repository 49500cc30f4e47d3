//! The thread that hashes the file as it grows, and gives its bytes to the disk.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use compass_registry::direct_io::AlignedBuffer;
use compass_registry::{Digest, Hasher};
use tokio::sync::{mpsc, oneshot};

use super::disk::{Disk, Disks, Done, Mark, Write};
use super::frontier::Frontier;
use super::passing::Passing;
use crate::Error;

/// What the writer is asked to do.
pub(super) enum Order {
    /// Writes bytes; those that may still be replaced are not hashed yet.
    Write { offset: u64, bytes: AlignedBuffer, settled: bool, mark: Option<Mark> },
    /// Notes how much of a blob is written, without writing anything.
    Mark(Mark),
    /// Hashes a blob as well, whose bytes come in order from now on.
    Hash(Passing),
    /// Gives the hasher of a blob back, where it is the one that is hashed.
    GiveBack(usize, oneshot::Sender<Option<Hasher>>),
    /// What has been written here stays.
    Settled(Range<u64>),
    /// Says when everything is written that was ordered before.
    Tell(oneshot::Sender<()>),
}

/// Carries out all orders, and gives the size and the digest of what was written.
pub(super) fn run(
    disk: &Disk,
    file: File,
    mut orders: mpsc::Receiver<Order>,
    path: &Path,
) -> Result<(u64, Digest), Error> {
    std::thread::scope(|scope| {
        let mut writer = Writer {
            frontier: Frontier::new(file),
            passing: None,
            disk,
            disks: disk.start(scope),
            number: 0,
            path,
        };
        while let Some(order) = orders.blocking_recv() {
            writer.execute(order)?;
        }
        writer.finish()
    })
}

struct Writer<'r> {
    frontier: Frontier,
    /// The blob that is hashed with the file.
    passing: Option<Passing>,
    disk: &'r Disk,
    disks: Disks,
    /// Of the next write.
    number: u64,
    path: &'r Path,
}

impl Writer<'_> {
    fn execute(&mut self, order: Order) -> Result<(), Error> {
        match order {
            Order::Write { offset, bytes, settled, mark } => {
                let passed = settled && self.pass(offset, bytes.bytes())?;
                let (number, cached, early) = (self.next(), !passed, settled && !passed);
                self.disks.write(Write { number, offset, bytes, mark, cached, early })?;
                while let Some(written) = self.disks.done()? {
                    self.written(written)?;
                }
            }
            Order::Mark(mark) => {
                let number = self.next();
                self.disk.ended(number, Some(mark))?;
            }
            Order::Hash(blob) => self.passing = Some(blob),
            Order::GiveBack(blob, whom) => {
                let passing = self.passing.take_if(|passing| passing.blob() == blob);
                // Who has given up needs none.
                let _ = whom.send(passing.map(Passing::into_hasher));
            }
            Order::Settled(range) => {
                self.wait()?;
                self.settle(range)?;
            }
            Order::Tell(whom) => {
                self.wait()?;
                // Who has given up need not be told.
                let _ = whom.send(());
            }
        }
        Ok(())
    }

    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number - 1
    }

    fn pass(&mut self, offset: u64, bytes: &[u8]) -> Result<bool, Error> {
        let blob = self.passing.as_mut().filter(|blob| blob.next() == offset);
        self.frontier.pass(offset, bytes, blob).map_err(Error::io("read", self.path))
    }

    fn written(&mut self, done: Done) -> Result<(), Error> {
        if done.early { self.settle(done.range) } else { Ok(()) }
    }

    fn settle(&mut self, range: Range<u64>) -> Result<(), Error> {
        self.frontier.settled(range).map_err(Error::io("read", self.path))
    }

    /// Waits until everything is written.
    fn wait(&mut self) -> Result<(), Error> {
        while let Some(written) = self.disks.wait()? {
            self.written(written)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(u64, Digest), Error> {
        self.wait()?;
        Ok(self.frontier.finish())
    }
}
