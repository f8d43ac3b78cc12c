//! CPython's words: the files that its modules are compiled to, and those that say where modules are.
//!
//! * [`built_in`]: the modules that an interpreter has without a file;
//! * [`bytecode`]: the paths of bytecode (PEP 3147);
//! * [`imports`]: the imports that a module makes when it is loaded;
//! * [`marshal`]: the objects in it;
//! * [`path_files`]: `.pth` files, and the finders that they start;
//! * [`pyc`]: its files;
//! * [`search_changes`]: what a module does to the search for others.

pub mod built_in;
pub mod bytecode;
pub mod imports;
mod lines;
pub mod marshal;
pub mod path_files;
pub mod pyc;
pub mod search_changes;
