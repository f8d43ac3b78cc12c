//! CPython's words: the files that its modules are compiled to.
//!
//! * [`bytecode`]: the paths of bytecode (PEP 3147);
//! * [`marshal`]: the objects in it.

pub mod bytecode;
pub mod marshal;
