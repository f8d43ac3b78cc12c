//! The extra of a framework that asks for its CUDA components.

/// An extra that adds a framework's demands on components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CudaExtra {
    /// As `jax[cuda12]` writes it.
    pub extra: &'static str,
    /// The CUDA major version it asks for.
    pub major: u32,
}

/// The extras of the distribution of this normalized name that ask for CUDA components, newest CUDA first; empty for a
/// distribution that asks for them unconditionally, as torch does, or not at all.
pub fn cuda_extras(distribution: &str) -> &'static [CudaExtra] {
    match distribution {
        "jax" => &[CudaExtra { extra: "cuda13", major: 13 }, CudaExtra { extra: "cuda12", major: 12 }],
        "tensorflow" => &[CudaExtra { extra: "and-cuda", major: 12 }],
        _ => &[],
    }
}

/// Returns whether a CUDA extra asks for this distribution although frameworks run without it, and it has no wheels of
/// its own: `tensorflow[and-cuda]` up to 2.16 asks for TensorRT, whose project is a source archive that downloads
/// another.
pub fn is_dispensable(distribution: &str) -> bool {
    matches!(distribution, "tensorrt" | "tensorrt-bindings" | "tensorrt-libs")
}
