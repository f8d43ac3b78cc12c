//! CUDA words: the names of components, the wheels that carry them, and where NVIDIA's own layout puts their files.
//!
//! Names only: versions and needs are read from metadata and ELF, because tables of them rot.

mod component;
mod driver;
mod framework;
mod layout;
mod opens;

pub use component::{Component, ComponentWheel, FIRST_UNSUFFIXED, is_debian_package, library_stem};
pub use driver::{Driver, DriverFit};
pub use framework::{
    BinaryUse, CudaExtra, binary_use, cuda_extras, declares_all, is_dispensable, is_without_cuda,
};
pub use layout::{Toolkit, toolkit_version};
pub use opens::OpensSearch;
