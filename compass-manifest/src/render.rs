//! Renders reports as text, JSON, SARIF and GitHub annotations.

mod github;
mod json;
mod rule;
mod sarif;
mod text;

pub use github::{github, github_warning};
pub use json::{json, json_text};
pub use rule::{rule_page, rule_table};
pub use sarif::sarif;
pub use text::{Style, text};
