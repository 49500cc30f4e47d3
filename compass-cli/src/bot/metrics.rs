//! Counts what the bot does, and formats the numbers for Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use compass_registry::storage::prometheus_head;
use jiff::Timestamp;

/// The content type of the text format of Prometheus.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// A number that only increases.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

/// The numbers since the start.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// Deliveries that were written to the journal.
    pub(super) accepted: Counter,
    /// Valid deliveries that concern no pull request of the repository.
    pub(super) ignored: Counter,
    /// Requests without a valid signature, and other invalid requests.
    pub(super) rejected: Counter,
    /// Valid deliveries that could not be written to the journal.
    pub(super) failed: Counter,
    pub(super) looks: Counter,
    pub(super) failed_looks: Counter,
    /// Comments, labels and statuses that were written.
    pub(super) writes: Counter,
    /// Steps of the teams that the bot did.
    pub(super) steps: Counter,
    pub(super) failed_steps: Counter,
    /// Webhooks that did not arrive before the start.
    pub(super) missed: Counter,
    pub(super) scans: Counter,
    pub(super) failed_scans: Counter,
    /// The end of the last successful scan, in seconds since 1970.
    last_scan: AtomicU64,
}

/// The numbers at this moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gauges {
    pub(super) waiting: usize,
    pub(super) running: usize,
    pub(super) open_releases: usize,
}

impl Counter {
    pub(super) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    pub(super) fn scan_succeeded(&self, at: Timestamp) {
        self.scans.add(1);
        self.last_scan.store(u64::try_from(at.as_second()).unwrap_or(0), Ordering::Relaxed);
    }

    /// Formats the numbers.
    pub(super) fn text(&self, gauges: Gauges) -> String {
        let name = "compass_bot_deliveries_total";
        let mut text = prometheus_head(name, "Requests at /webhook, by their result.", true);
        let results = [
            ("accepted", &self.accepted),
            ("ignored", &self.ignored),
            ("rejected", &self.rejected),
            ("failed", &self.failed),
        ];
        for (result, counter) in results {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}{{result=\"{result}\"}} {}", counter.get());
        }
        for (name, help, counter) in [
            ("looks_total", "Pull requests that were looked at.", &self.looks),
            (
                "looks_failed_total",
                "Pull requests that could not be looked at.",
                &self.failed_looks,
            ),
            ("writes_total", "Comments, labels and statuses that were written.", &self.writes),
            ("steps_total", "Steps of the teams that were done.", &self.steps),
            ("steps_failed_total", "Steps of the teams that failed.", &self.failed_steps),
            ("missed_deliveries_total", "Webhooks that failed before the start.", &self.missed),
            ("scans_total", "Scans of the open pull requests.", &self.scans),
            ("scans_failed_total", "Scans that failed.", &self.failed_scans),
        ] {
            let name = format!("compass_bot_{name}");
            text.push_str(&prometheus_head(&name, help, true));
            let _ = writeln!(text, "{name} {}", counter.get());
        }
        for (name, help, value) in [
            ("queue_waiting", "Pull requests that wait for a worker.", gauges.waiting as u64),
            ("queue_running", "Pull requests that have a worker.", gauges.running as u64),
            ("open_releases", "Open release pull requests.", gauges.open_releases as u64),
            (
                "last_scan_timestamp_seconds",
                "The end of the last successful scan.",
                self.last_scan.load(Ordering::Relaxed),
            ),
        ] {
            let name = format!("compass_bot_{name}");
            text.push_str(&prometheus_head(&name, help, false));
            let _ = writeln!(text, "{name} {value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_prometheus_format() {
        let metrics = Metrics::default();
        metrics.accepted.add(2);
        metrics.scan_succeeded(Timestamp::from_second(1_790_000_000).unwrap());
        let text = metrics.text(Gauges { waiting: 3, running: 1, open_releases: 4 });
        for line in [
            "# TYPE compass_bot_deliveries_total counter",
            "compass_bot_deliveries_total{result=\"accepted\"} 2",
            "compass_bot_deliveries_total{result=\"rejected\"} 0",
            "# HELP compass_bot_queue_waiting Pull requests that wait for a worker.",
            "# TYPE compass_bot_queue_waiting gauge",
            "compass_bot_queue_waiting 3",
            "compass_bot_scans_total 1",
            "compass_bot_last_scan_timestamp_seconds 1790000000",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
    }
}
