//! Turns reports into what people and programs read.

mod json;
mod text;

pub use json::json;
pub use text::{Style, text};
