//! Numbers for monitoring.

use std::fmt;

/// A number about a storage, which the server publishes for monitoring.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The name in the conventions of Prometheus, such as `compass_cache_bytes`.
    pub name: &'static str,
    /// One sentence about it.
    pub help: &'static str,
    /// Whether it only grows.
    pub is_counter: bool,
    /// The current value.
    pub value: u64,
}

impl Metric {
    /// Creates a number that only grows.
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, is_counter: true, value }
    }

    /// Creates a number that grows and shrinks.
    pub fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, is_counter: false, value }
    }
}

impl fmt::Display for Metric {
    /// Formats the number in the text format of Prometheus.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, help, is_counter, value } = self;
        writeln!(f, "{}{name} {value}", prometheus_head(name, help, *is_counter))
    }
}

/// Formats the lines before the values of a metric, in the text format of Prometheus.
pub fn prometheus_head(name: &str, help: &str, is_counter: bool) -> String {
    let kind = if is_counter { "counter" } else { "gauge" };
    format!("# HELP {name} {help}\n# TYPE {name} {kind}\n")
}
