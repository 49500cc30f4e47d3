//! Registries as they are: what they answer besides what the specification says, and what the client
//! makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod logins;
mod pulls;
mod pushes;
mod uploads;
mod world;
