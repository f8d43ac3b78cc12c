//! Outside: the network.
//!
//! * [`http`]: one client for everything, with retries, a least `pace`, and bounds on `redirect`s; [`download`]: whole
//!   files, resumed and checked; [`credentials`]: logins, and URLs without them;
//! * [`config`]: which package indexes the machine uses; [`directory`]: those that are directories;
//! * [`index`]: what they know, as the solver's [`Catalog`](crate::resolve::solve::Catalog), read from pages (`page`) and
//!   parts of wheels (`wheel_parts`), and the reasons why they do not answer ([`index_error`]); [`learned`]: the records of that, believed as far as they were verified;
//! * [`registry`]: registries of images, read from and pushed to;
//! * [`git`]: repositories of git, by the machine's own program;
//! * [`debian`]: Debian archives, their signed releases and package indexes.
#![allow(clippy::disallowed_methods, reason = "this is where the network, the clock and the file system are")]

pub mod config;
pub mod credentials;
pub mod debian;
pub mod directory;
pub mod download;
pub mod engine;
pub mod git;
pub mod http;
pub mod index;
pub mod index_error;
pub mod learned;
#[cfg(test)]
mod loopback;
pub mod netrc;
mod pace;
mod page;
mod projects;
mod redirect;
pub mod registry;
mod wheel_parts;
