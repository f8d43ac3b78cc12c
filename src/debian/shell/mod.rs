//! The shell language in which maintainer scripts are written, as a tree of commands: parsed, never run.
//!
//! <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html>

mod lexer;
mod parser;
pub mod pattern;
pub mod syntax;

pub use parser::parse;
