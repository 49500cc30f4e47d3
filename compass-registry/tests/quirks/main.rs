//! Registries that deviate from the specification.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod logins;
mod pulls;
mod pushes;
mod uploads;
mod world;
