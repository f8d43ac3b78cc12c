//! (being written)
pub mod debian;
