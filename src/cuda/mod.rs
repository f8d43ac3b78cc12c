//! CUDA words: the names of components, the wheels that carry them, and where NVIDIA's own layout puts their files; the code
//! for GPUs in a file, the GPUs that run it, and the drivers.
//!
//! Names only: versions and needs are read from metadata and ELF, because tables of them rot.

mod capability;
mod cards;
mod component;
mod driver;
mod fatbin;
mod framework;
mod gpu_code;
#[cfg(test)]
pub(crate) mod gpu_samples;
mod gpu_search;
mod gpu_sections;
mod layout;
mod opens;

pub use capability::{Capability, CodeForm, GpuFeatures, GpuTarget};
pub use cards::Gpu;
pub use component::{Component, ComponentWheel, FIRST_UNSUFFIXED, is_debian_package, library_stem};
pub use driver::{Driver, DriverCause, DriverFit, DriverNeed, HostDrivers, NoDriver};
pub use framework::{
    BinaryUse, CudaExtra, asks_for_versions, binary_use, cuda_extras, declares_all, is_dispensable,
    is_without_cuda, loaded_globally,
};
pub use gpu_code::{CodePlace, GpuCode, GpuImages, ImageKind, PtxVersion};
pub use gpu_search::{GpuCodeSearch, GpuFile};
pub use layout::{Toolkit, toolkit_version};
pub use opens::OpensSearch;
