//! imgforge turns a recipe into an OCI image in which every framework shares one system CUDA.
//!
//! A build is a chain of values; nothing is written before everything is decided:
//!
//! ```text
//! recipe text ─ Recipe::parse ─► Recipe ───────────────────┐
//! place or suite ─ pipeline::base::open ─► BaseInventory ──┴─► resolve ─► Resolution ─► plan ─► Plan
//!                                                                                                 │
//!       ImagePlace ◄─ Image ◄─ image::assemble ◄─ ImageLayer… ◄─ pipeline::write(LayerPlan…) ◄───┘
//!                        └─► check ─► Report
//! ```
//!
//! The modules; each imports only what the table in `tests/it/architecture` allows:
//!
//! | kind | module | contents |
//! |---|---|---|
//! | words | [`oci`] | digests, descriptors, manifests and tar entries |
//! | | [`pypa`] | wheels, metadata, indexes and install schemes |
//! | | [`cpython`] | bytecode |
//! | | [`cuda`] | components, toolkits, drivers |
//! | | [`elf`] | libraries, the loader's configuration and cache |
//! | | [`debian`] | packages, archives, versions and signatures |
//! | | [`deflate`] | the compression of wheels and layers |
//! | | [`credentials`] | secrets, and URLs without theirs |
//! | | [`escape`] | text from outside, as people read it |
//! | | [`place`] | the places of images |
//! | | [`purl`] | the names of packages among all kinds |
//! | | [`failure`] | errors as people read them: hints, and whose fault |
//! | | [`pool`] | threads that share a list of work |
//! | decisions | [`observe`] | the facts of a layer's files, for inventories and checks |
//! | | [`recipe`] | the recipe, parsed, with every complaint at once |
//! | | [`draft`] | a first recipe, from what a project's directory has |
//! | | [`base`] | the inventory of an image, from the facts of its files |
//! | | [`bootstrap`] | a base made of Debian packages: the choice, the inventory, the configuration |
//! | | [`resolve`] | the distributions and the CUDA components, with reasons |
//! | | [`lock`] | a resolution as a file, and back |
//! | | [`plan`] | the layers to write, as data |
//! | | [`jobs`] | the stages of a matrix, as jobs of other engines |
//! | | [`image`] | the config and the manifest of the finished layers |
//! | | [`check`] | proof that a finished image loads, and findings where it does not |
//! | | [`compare`] | the differences between two images |
//! | | [`rebase`] | an image's own layers over another base |
//! | | [`attest`] | what goes with an image: artifacts, signatures, provenance |
//! | | [`sbom`] | the bill of materials of an image |
//! | outside | [`store`] | blobs and records on disk |
//! | | [`plain_file`] | regular files, read within bounds |
//! | | [`beneath`] | files below a directory, which no path or link leaves |
//! | | [`net`] | package indexes, archives and registries |
//! | | [`layer`] | layers written, read and transcoded |
//! | | [`sandbox`] | programs of strangers, confined |
//! | | [`importing`] | an image's distributions, imported by its own interpreter in a sandbox |
//! | | [`sdist`] | source distributions, built to wheels in a sandbox |
//! | | [`source`] | images that others made |
//! | | [`registry_cache`] | layers, facts and images that machines share by a registry |
//! | | [`destination`] | the places that images are published to |
//! | | [`pipeline`] | the commands, each told in one place |
//! | | [`cli`] | the command line, the terminal |
//!
//! Words are one file per specification or format, and import only each other. Decisions are pure: no IO, clock or
//! environment. Only what is outside meets files, the network and the terminal.
//!
//! Invariants every module keeps:
//!
//! * The same recipe, base and index state give the same bytes, with any number of threads; with a lock, the index
//!   state has no say.
//! * A [`oci::Digest`] is made only by hashing or parsing; a blob opened from the store was verified.
//! * No layer, wheel or package is ever held in memory.
//! * Nothing downloaded is trusted before its hash is checked; archive paths cannot leave their root.
//! * Nothing from the image is executed but the base's interpreter, where a recipe asks for bytecode, what it builds
//!   from sources that a recipe names, and what `check --import` imports: in a [`sandbox`].
//! * Decisions do no IO, and carry their reasons as data.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests hold decisions against the machine"))]

pub mod attest;
pub mod base;
pub mod beneath;
pub mod bootstrap;
pub mod check;
pub mod cli;
pub mod compare;
pub mod cpython;
pub mod credentials;
pub mod cuda;
pub mod debian;
pub mod deflate;
pub mod destination;
pub mod draft;
pub mod elf;
pub mod escape;
pub mod failure;
pub mod image;
pub mod importing;
pub mod jobs;
pub mod layer;
pub mod lock;
pub mod net;
pub mod observe;
pub mod oci;
pub mod pipeline;
pub mod place;
pub mod plain_file;
pub mod plan;
pub mod pool;
pub mod purl;
pub mod pypa;
pub mod rebase;
pub mod recipe;
pub mod registry_cache;
pub mod resolve;
pub mod sandbox;
pub mod sbom;
pub mod sdist;
pub mod source;
pub mod store;
