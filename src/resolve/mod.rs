//! What is installed, and why: versions from package indexes, CUDA components from what the versions demand.

pub mod solve;
