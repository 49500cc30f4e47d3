//! The measured properties of the connections to a source.

use std::time::Duration;

/// The duration of the transfer of a range, in round trips. A connection is idle for one round trip
/// between two ranges.
const ROUND_TRIPS: u32 = 8;

/// The maximum length of a range in bytes. A process that is killed fetches the unfinished ranges
/// again.
const MAX_RANGE_LEN: u64 = 16 << 20;

/// The shortest response time of a distant source. A new connection over such a distance is slow at
/// first.
const DISTANT: Duration = Duration::from_millis(10);

/// The properties of the connections to a source.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Link {
    /// The shortest time from the request of a blob to its first bytes. It includes one round trip.
    latency: Option<Duration>,
    /// The shortest time from any request to its response.
    response_time: Option<Duration>,
    /// The throughput of one slow connection, in bytes per second.
    throughput: u64,
}

impl Link {
    /// Returns the length in bytes of a range whose transfer takes [`ROUND_TRIPS`]; 0 if the link
    /// is not known.
    pub(super) fn range_len(self) -> u64 {
        let time = self.latency.unwrap_or_default() * ROUND_TRIPS;
        let bytes = u128::from(self.throughput) * time.as_micros() / 1_000_000;
        u64::try_from(bytes).unwrap_or(MAX_RANGE_LEN).min(MAX_RANGE_LEN)
    }

    /// Whether every response took so long that the source is assumed to be distant.
    pub(super) fn is_distant(self) -> bool {
        self.response_time.is_some_and(|time| time >= DISTANT)
    }

    /// Records a sample of a slow connection. The latencies of other requests do not count, because
    /// a cache may have answered them.
    pub(super) fn observe(&mut self, latency: Option<Duration>, bytes: u64, waited: Duration) {
        self.latency = self.latency.into_iter().chain(latency).min();
        let micros = waited.as_micros().max(1);
        let sample = u128::from(bytes) * 1_000_000 / micros;
        self.throughput = u64::try_from(sample).unwrap_or(u64::MAX);
    }

    /// Records the time from a request to its response.
    pub(super) fn observe_response(&mut self, time: Duration) {
        self.response_time = self.response_time.into_iter().chain([time]).min();
    }
}

/// Forty megabytes per second over a link with round trips of 50 ms.
#[cfg(test)]
pub(super) fn far() -> Link {
    let mut link = Link::default();
    for latency in [100, 50, 70] {
        let latency = Some(Duration::from_millis(latency));
        link.observe(latency, 1_000_000, Duration::from_millis(25));
    }
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_range_len_takes_eight_round_trips() {
        assert_eq!(Link::default().range_len(), 0, "nothing is known");
        assert_eq!(far().range_len(), 8 * 40_000_000 / 20);
    }

    #[test]
    fn link_range_len_is_limited() {
        let mut link = Link::default();
        link.observe(Some(Duration::from_secs(1)), u64::MAX, Duration::ZERO);
        assert_eq!(link.range_len(), MAX_RANGE_LEN);
    }

    #[test]
    fn link_is_distant_if_every_response_is_slow() {
        let mut link = Link::default();
        assert!(!link.is_distant(), "nothing is known");
        link.observe_response(3 * DISTANT);
        assert!(link.is_distant());
        link.observe_response(DISTANT / 2);
        assert!(!link.is_distant());
    }
}
