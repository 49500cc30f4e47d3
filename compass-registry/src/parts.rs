//! Reading one blob in several parts at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::recycled::{Recycled, Recycler};

/// How a source likes large blobs to be read: in parts, of which some are fetched ahead of the one
/// that is being handed out, where one connection alone is slow. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Parts {
    bytes: u64,
    fast: u64,
    connections: Arc<Semaphore>,
    memory: Recycler,
}

/// How fast a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// Others beside it would be in its way.
    Fast,
    /// Others beside it bring more.
    Slow,
}

/// Finds out how fast a connection is. Only the time counts in which it was waited for: who takes
/// the bytes may be slower, and more connections would not help.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    began: bool,
    bytes: u64,
    waited: Duration,
    speed: Option<Speed>,
}

/// Bytes that one connection carries where it is fast enough alone; then it is judged again.
const STRETCH: u64 = 64 << 20;

/// Waiting that tells something: a busy machine takes less for other things.
const MOMENT: Duration = Duration::from_millis(25);

impl Pace {
    /// How many bytes to ask for at once: a part where the connection is not known to be fast.
    pub fn stretch(&self, parts: &Parts) -> u64 {
        match self.speed {
            Some(Speed::Fast) => STRETCH,
            _ => parts.bytes(),
        }
    }

    /// Something is asked for: the next chunk waits for the answer.
    pub fn ask(&mut self) {
        self.began = false;
    }

    /// Takes a chunk into account that was waited for, and says how fast the connection is, as far
    /// as that is known.
    pub fn count(&mut self, bytes: u64, waited: Duration, parts: &Parts) -> Option<Speed> {
        if !self.began {
            self.began = true;
            return self.speed;
        }
        self.bytes += bytes;
        self.waited += waited;
        let fast = parts.is_fast(self.bytes, self.waited);
        // To be slow takes more waiting than a busy machine explains.
        let judged = self.waited >= MOMENT || (fast && self.bytes >= parts.bytes() / 2);
        if judged {
            self.speed = Some(if fast { Speed::Fast } else { Speed::Slow });
            (self.bytes, self.waited) = (0, Duration::ZERO);
        }
        self.speed
    }
}

/// Half a gigabit a second, in bytes: more than one connection makes of a long way.
const HALF_A_GIGABIT: u64 = 62_500_000;

impl Default for Parts {
    /// Parts of 2 MiB over twelve connections.
    fn default() -> Self {
        Self::new(2 << 20, 12)
    }
}

impl Parts {
    /// Parts of this many bytes over so many connections, for all blobs together. What is fetched
    /// ahead is kept in memory, so both also bound that.
    pub fn new(bytes: u64, connections: usize) -> Self {
        let connections = Arc::new(Semaphore::new(connections));
        Self { bytes: bytes.max(1), fast: HALF_A_GIGABIT, connections, memory: Recycler::default() }
    }

    /// One connection that carries so many bytes a second is fast enough alone. It is half a
    /// gigabit where nothing is said.
    #[must_use]
    pub fn unless_faster_than(self, bytes_per_second: u64) -> Self {
        Self { fast: bytes_per_second, ..self }
    }

    /// Whether a connection that carried so many bytes is fast enough alone.
    fn is_fast(&self, bytes: u64, took: Duration) -> bool {
        u128::from(bytes) * 1_000_000 > u128::from(self.fast) * took.as_micros()
    }

    /// Bytes of a part.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Empty memory for one part.
    pub(crate) fn memory(&self) -> Recycled {
        let mut memory = self.memory.take();
        memory.bytes.clear();
        memory.bytes.reserve_exact(usize::try_from(self.bytes).unwrap_or(0));
        memory
    }

    /// One more connection, where there is one. It is given back when it is dropped.
    pub fn connection(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }
}
