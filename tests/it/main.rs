//! The integration tests: one crate, a file per promise.

mod architecture;
