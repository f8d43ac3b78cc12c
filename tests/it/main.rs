//! The integration tests: one crate, a file per promise.
#![allow(clippy::disallowed_methods, reason = "tests run programs and read what they wrote")]

mod architecture;
mod uv_compile;
