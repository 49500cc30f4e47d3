//! Shared by the benchmarks: commands, registry processes, and a slow link.

pub mod link;
pub mod registry;
pub mod shell;

/// An error that ends a benchmark.
pub type BenchError = Box<dyn std::error::Error + Send + Sync>;
