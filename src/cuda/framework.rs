//! The extra of a framework that asks for its CUDA components.

use super::Component;

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

/// The part that CUDA's libraries have in a distribution, where its binaries alone do not tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BinaryUse {
    /// The components without which it does not do its work, and which its binaries open by name.
    pub opens: &'static [&'static str],
    /// Headers that it compiles with in the container, and their components.
    pub headers: &'static [(&'static str, &'static str)],
    /// The components that only optional modules are linked with.
    optional: &'static [&'static str],
    /// A part of the names of files that are optional as a whole.
    optional_files: Option<&'static str>,
}

impl BinaryUse {
    /// Returns whether only optional modules are linked with a component.
    pub fn is_optional(&self, component: Component) -> bool {
        self.optional.contains(&component.name())
    }

    /// Returns whether the file at a path is optional as a whole.
    pub fn is_optional_file(&self, path: &str) -> bool {
        self.optional_files.is_some_and(|part| path.contains(part))
    }
}

const NOTHING_KNOWN: BinaryUse = BinaryUse { opens: &[], headers: &[], optional: &[], optional_files: None };

/// The part of CUDA in the distribution of this normalized name.
pub fn binary_use(distribution: &str) -> BinaryUse {
    match distribution {
        "ctranslate2" => BinaryUse { opens: &["cublas", "cudnn"], ..NOTHING_KNOWN },
        // TensorRT itself comes from elsewhere.
        "onnxruntime-gpu" => BinaryUse { optional_files: Some("_providers_tensorrt"), ..NOTHING_KNOWN },
        _ if distribution.starts_with("cupy-cuda") => {
            let optional = &["cudnn", "cutensor", "nccl"];
            BinaryUse { optional, headers: &[("cuda_fp16.h", "cuda-runtime")], ..NOTHING_KNOWN }
        }
        _ => NOTHING_KNOWN,
    }
}

/// The components that a distribution asks for their versions before it does anything, by names that it puts together.
pub fn asks_for_versions(distribution: &str) -> &'static [&'static str] {
    match distribution.strip_prefix("jax-cuda").and_then(|rest| rest.strip_suffix("-plugin")) {
        Some(_) => &["cublas", "cudnn", "cufft", "cusolver", "cusparse"],
        None => &[],
    }
}

/// The files that the code of a distribution loads for the whole process, with `RTLD_GLOBAL`: `torch/__init__.py` opens one by
/// ctypes, and `tensorflow/python/pywrap_tensorflow.py` sets the flags of `dlopen` before it imports the other.
pub fn loaded_globally(distribution: &str) -> &'static [&'static str] {
    match distribution {
        "torch" => &["libtorch_global_deps.so"],
        "tensorflow" | "tensorflow-cpu" | "tensorflow-gpu" => &["_pywrap_tensorflow_internal.so"],
        _ => &[],
    }
}

/// Returns whether the metadata of a distribution says all that its binaries need: those of the frameworks do.
pub fn declares_all(distribution: &str) -> bool {
    let plugin = |prefix| distribution.starts_with(prefix);
    matches!(distribution, "torch" | "jax" | "jaxlib" | "tensorflow" | "tensorflow-cpu" | "triton")
        || plugin("jax-cuda")
        || plugin("jax-rocm")
}

/// Distributions with binaries, on nearly every list, that run on processors alone: nobody has to read them to know.
const WITHOUT_CUDA: [&str; 119] = [
    "aiohttp",
    "argon2-cffi-bindings",
    "av",
    "awscrt",
    "bcrypt",
    "bitarray",
    "blake3",
    "blis",
    "blosc2",
    "bottleneck",
    "brotli",
    "cbor2",
    "cffi",
    "cftime",
    "charset-normalizer",
    "cmake",
    "contourpy",
    "coverage",
    "cryptography",
    "cymem",
    "cython",
    "datasketches",
    "debugpy",
    "dm-tree",
    "duckdb",
    "fastar",
    "fastavro",
    "fastparquet",
    "fastrlock",
    "fiona",
    "fonttools",
    "frozenlist",
    "gmpy2",
    "greenlet",
    "grpcio",
    "grpcio-tools",
    "h5py",
    "hf-xet",
    "httptools",
    "ijson",
    "jiter",
    "kiwisolver",
    "libclang",
    "llguidance",
    "llvmlite",
    "lxml",
    "lz4",
    "markupsafe",
    "matplotlib",
    "ml-dtypes",
    "mmh3",
    "msgpack",
    "msgspec",
    "multidict",
    "murmurhash",
    "netcdf4",
    "ninja",
    "numba",
    "numcodecs",
    "numexpr",
    "numpy",
    "onnx",
    "openai-harmony",
    "opencv-python",
    "opencv-python-headless",
    "optree",
    "orjson",
    "oss-harmony",
    "outlines-core",
    "pandas",
    "pillow",
    "polars",
    "polars-runtime-32",
    "preshed",
    "propcache",
    "protobuf",
    "psutil",
    "psycopg2-binary",
    "pyarrow",
    "pybase64",
    "pycryptodome",
    "pycryptodomex",
    "pydantic-core",
    "pynacl",
    "pyproj",
    "pyyaml",
    "pyzmq",
    "rapidfuzz",
    "ray",
    "rdkit",
    "regex",
    "rignore",
    "rpds-py",
    "ruff",
    "safetensors",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "sentencepiece",
    "setproctitle",
    "shapely",
    "simsimd",
    "soundfile",
    "soxr",
    "sqlalchemy",
    "statsmodels",
    "tables",
    "tensorstore",
    "tiktoken",
    "tokenizers",
    "tornado",
    "ujson",
    "uvloop",
    "watchfiles",
    "websockets",
    "wrapt",
    "xxhash",
    "yarl",
    "zstandard",
];

/// Returns whether the distribution of this normalized name is known to be without CUDA.
pub fn is_without_cuda(distribution: &str) -> bool {
    WITHOUT_CUDA.contains(&distribution)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::Component;

    #[test]
    fn the_tables_name_components() {
        for name in ["ctranslate2", "onnxruntime-gpu", "cupy-cuda12x", "cupy-cuda13x", "demo"] {
            let BinaryUse { opens, optional, headers, .. } = binary_use(name);
            let of_headers = headers.iter().map(|(_, component)| component);
            assert!(
                opens.iter().chain(optional).chain(of_headers).all(|name| Component::named(name).is_some()),
                "{name}"
            );
        }
        assert!(WITHOUT_CUDA.is_sorted());
        assert!(is_without_cuda("numpy") && !is_without_cuda("onnxruntime-gpu"));
        assert!(declares_all("jax-cuda12-plugin") && !declares_all("torchaudio"));
    }
}
