//! Registries that deviate from the specification, and how the client copes with them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod logins;
mod pulls;
mod pushes;
mod uploads;
mod world;
