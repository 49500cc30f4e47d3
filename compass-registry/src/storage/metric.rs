//! Numbers for monitoring.

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
