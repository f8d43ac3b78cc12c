//! The Python packaging words: one file per specification.
//!
//! * [`simple`]: a project's page in a package index (PEP 503, 592, 658, 691, 700, 714);
//! * [`metadata`]: core metadata, what a distribution requires (PEP 566, 643, 508); [`described`]: its licence and authors (PEP 639);
//! * [`complexity`]: the bounds on requirements, held before they are parsed;
//! * [`specifiers`]: the bounds that versions are given (PEP 440);
//! * [`target`]: the interpreter and platform that is built for, markers and wheel tags (PEP 425, 508, 600);
//! * [`zip`]: the archive that a wheel is; [`wheel`]: what it contains, read without reading all of it (PEP 427);
//! * [`library`]: the shared libraries in a wheel, read likewise; [`needs`]: the libraries that its binaries need of others;
//! * [`source_file`]: a source distribution on such a page; [`pyproject`]: the build backend of a source tree (PEP 517, 518);
//! * [`git_reference`]: a repository of git as a source (PEP 610); [`subdirectory`]: a project's directory within a source;
//! * [`install`], [`scheme`], [`entry_points`], [`record`], [`direct_url`]: what installing a wheel means.
//!
//! <https://packaging.python.org/en/latest/specifications/>

pub mod archive_hash;
pub mod complexity;
pub mod described;
pub mod direct_url;
pub mod entry_points;
pub mod git_reference;
mod html_tags;
pub mod install;
pub mod library;
pub mod metadata;
pub mod needs;
pub mod pyproject;
pub mod record;
pub mod scheme;
pub mod simple;
pub mod source_file;
pub mod specifiers;
pub mod subdirectory;
pub mod target;
pub mod wheel;
pub mod zip;
