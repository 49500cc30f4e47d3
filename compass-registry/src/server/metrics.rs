//! Counts requests and transfers, and formats the numbers for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::storage::{Metric, prometheus_head};

/// The content type of the text format of Prometheus.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// The numbers of a server. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    /// Requests by the status of their responses.
    requests: Mutex<BTreeMap<u16, u64>>,
    sent_bytes: AtomicU64,
    streams: AtomicU64,
    refused_streams: AtomicU64,
    failed_streams: AtomicU64,
}

/// A transfer of a blob, which is counted until it is dropped.
#[derive(Debug)]
pub(super) struct CountedStream(Metrics);

impl Metrics {
    pub(super) fn count_request(&self, status: u16) {
        let mut requests = self.0.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(status).or_default() += 1;
    }

    pub(super) fn count_refused_stream(&self) {
        self.0.refused_streams.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_failed_stream(&self) {
        self.0.failed_streams.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn start_stream(&self) -> CountedStream {
        self.0.streams.fetch_add(1, Ordering::Relaxed);
        CountedStream(self.clone())
    }

    /// Formats the numbers of the server and of its storage.
    pub(super) fn text(&self, of_storage: &[Metric]) -> String {
        let name = "compass_registry_requests_total";
        let mut text = prometheus_head(name, "Requests, by the status of the response.", true);
        let requests = self.0.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for (status, count) in requests.iter() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}{{status=\"{status}\"}} {count}");
        }
        drop(requests);
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let own = [
            Metric::counter(
                "compass_registry_blob_sent_bytes_total",
                "Bytes of blobs that were sent.",
                load(&self.0.sent_bytes),
            ),
            Metric::gauge(
                "compass_registry_streams",
                "Blobs that are being sent.",
                load(&self.0.streams),
            ),
            Metric::counter(
                "compass_registry_streams_refused_total",
                "Blobs that were refused with status 503, because too many were being sent.",
                load(&self.0.refused_streams),
            ),
            Metric::counter(
                "compass_registry_streams_failed_total",
                "Blobs that could not be read to their end.",
                load(&self.0.failed_streams),
            ),
        ];
        for metric in own.iter().chain(of_storage) {
            let _ = write!(text, "{metric}");
        }
        text
    }
}

impl CountedStream {
    pub(super) fn sent(&self, bytes: usize) {
        self.0.0.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for CountedStream {
    fn drop(&mut self) {
        self.0.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_prometheus_format() {
        let metrics = Metrics::default();
        metrics.count_request(200);
        metrics.count_request(404);
        metrics.count_request(200);
        let stream = metrics.start_stream();
        stream.sent(7);
        let text = metrics.text(&[Metric::gauge("compass_cache_bytes", "Bytes.", 5)]);
        for line in [
            "# TYPE compass_registry_requests_total counter",
            "compass_registry_requests_total{status=\"200\"} 2",
            "compass_registry_requests_total{status=\"404\"} 1",
            "compass_registry_blob_sent_bytes_total 7",
            "compass_registry_streams 1",
            "# HELP compass_cache_bytes Bytes.",
            "# TYPE compass_cache_bytes gauge",
            "compass_cache_bytes 5",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
        drop(stream);
        assert!(metrics.text(&[]).contains("compass_registry_streams 0\n"));
    }
}
