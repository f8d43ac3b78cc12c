//! The base: what is known of the image that a build starts from.

pub mod debian;
