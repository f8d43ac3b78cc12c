//! CPython's words: the files that its modules are compiled to.
//!
//! * [`bytecode`]: the paths of bytecode (PEP 3147);
//! * [`imports`]: the imports that a module makes when it is loaded;
//! * [`marshal`]: the objects in it;
//! * [`pyc`]: its files.

pub mod bytecode;
pub mod imports;
mod lines;
pub mod marshal;
pub mod pyc;
