//! Outside: the network.
//!
//! * [`http`]: one client for everything, with retries, resumed downloads and checked hashes;
//! * [`debian`]: Debian archives, their signed releases and package indexes.
#![allow(clippy::disallowed_methods, reason = "this is where the network, the clock and the file system are")]

pub mod debian;
pub mod http;
