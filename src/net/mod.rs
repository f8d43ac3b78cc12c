//! Outside: the network.
//!
//! * [`http`]: one client for everything, with retries, resumed downloads and checked hashes;
//! * [`config`]: which package indexes the machine uses;
//! * [`index`]: what they know, as the solver's [`Catalog`](crate::resolve::solve::Catalog);
//! * [`debian`]: Debian archives, their signed releases and package indexes.
#![allow(clippy::disallowed_methods, reason = "this is where the network, the clock and the file system are")]

pub mod config;
pub mod debian;
pub mod http;
pub mod index;
#[cfg(test)]
mod loopback;
