//! The integration tests: one crate, a file per promise.
#![allow(clippy::disallowed_methods, reason = "tests meet files, the network and processes")]

mod architecture;
mod build;
mod support;
