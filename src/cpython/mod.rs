//! CPython's words: the files that its modules are compiled to.
//!
//! * [`bytecode`]: the paths of bytecode (PEP 3147);
//! * [`marshal`]: the objects in it;
//! * [`pyc`]: its files.

pub mod bytecode;
pub mod marshal;
pub mod pyc;
