//! The integration tests: one crate, a file per promise.
#![allow(clippy::disallowed_methods, reason = "tests meet files, the network and processes")]

mod architecture;
mod bad_archives;
mod bad_costs;
mod bad_files;
mod bad_images;
mod bad_indexes;
mod bad_interpreters;
mod bad_names;
mod bad_places;
mod bad_recipes;
mod bad_store;
mod bad_wheels;
mod binaries;
mod build;
mod bytecode;
mod cache;
mod check;
mod check_python;
mod conflicts;
mod docs;
mod engines;
mod gpus;
mod image_bases;
mod images;
mod lock;
mod own_wheels;
mod papers;
mod plan;
mod publish;
mod recorder;
mod registries;
mod support;
mod uploads;
mod uv_compile;
