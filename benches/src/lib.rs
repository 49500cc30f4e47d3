//! What benchmarks share: commands, Debian's registry, and a slow link.

pub mod link;
pub mod registry;
pub mod shell;

/// Whatever ends a benchmark.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
