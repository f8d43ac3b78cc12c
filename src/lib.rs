//! imgforge turns a recipe into an OCI image in which every framework shares one system CUDA.
//!
//! A build is a chain of values; nothing is written before everything is decided:
//!
//! ```text
//! recipe text ─ recipe::parse ─► Recipe ────┐
//! base        ─ base ──────────► BaseInventory ─► resolve ─► Resolution ─► plan ─► Plan
//!                                                                                   │
//!                        Destination ◄─ Image ◄─ image::assemble ◄─ Layer… ◄─ layer::write
//! ```
//!
//! The modules, in the order of the pipeline:
//!
//! * stages: [`recipe`], [`base`], [`resolve`], [`lock`], [`plan`], [`layer`], [`image`], [`destination`],
//!   told in one place by [`pipeline`];
//! * words, one file per specification or format, importing nothing of the crate: [`oci`],
//!   [`pypa`], [`cuda`], [`elf`], [`debian`];
//! * helpers, importing nothing of the crate: [`credentials`], secrets in URLs; [`pool`], threads that share a list of
//!   work;
//! * outside, the only code that does IO beside `layer` and `destination`: [`store`], [`net`], and [`source`], which
//!   opens images that others made;
//! * and what all may use: [`failure`], what errors tell people.
//!
//! Invariants every module keeps:
//!
//! * The same recipe, base and index state give the same bytes, with any number of threads; with a lock, the index
//!   state has no say.
//! * A [`oci::Digest`] is made only by hashing or parsing; a blob opened from the store was verified.
//! * No layer, wheel or package is ever held in memory.
//! * Nothing downloaded is trusted before its hash is checked; archive paths cannot leave their root.
//! * Nothing from the image is executed on the host, but for the base's interpreter where a recipe asks for bytecode: it
//!   is given source text, and runs nothing of it.
//! * Decisions (`recipe`, `base`, `resolve`, `lock`, `plan`, `image`) do no IO, and carry their reasons as data.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests hold decisions against the machine"))]

pub mod base;
pub mod check;
pub mod cli;
pub mod compare;
pub mod credentials;
pub mod cuda;
pub mod debian;
pub mod destination;
pub mod elf;
pub mod failure;
pub mod image;
pub mod layer;
pub mod lock;
pub mod net;
pub mod oci;
pub mod pipeline;
pub mod plan;
pub mod pool;
pub mod pypa;
pub mod recipe;
pub mod resolve;
pub mod source;
pub mod store;
