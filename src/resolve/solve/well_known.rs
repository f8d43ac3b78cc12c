//! Names of projects that people mean when they misspell one.

/// Projects that images for machine learning are made of, and the tools around them.
const NAMES: &[&str] = &[
    "accelerate",
    "aiohttp",
    "albumentations",
    "anthropic",
    "apex",
    "bitsandbytes",
    "black",
    "boto3",
    "catboost",
    "chex",
    "click",
    "cuda-python",
    "cudf-cu12",
    "cuml-cu12",
    "cupy-cuda12x",
    "cython",
    "dask",
    "datasets",
    "deepspeed",
    "diffusers",
    "duckdb",
    "einops",
    "fastapi",
    "fastai",
    "faiss-cpu",
    "faiss-gpu",
    "flash-attn",
    "flask",
    "flax",
    "gensim",
    "gradio",
    "gymnasium",
    "h5py",
    "httpx",
    "huggingface-hub",
    "imageio",
    "ipykernel",
    "ipython",
    "ipywidgets",
    "jax",
    "jaxlib",
    "jinja2",
    "joblib",
    "jupyter",
    "jupyterlab",
    "keras",
    "langchain",
    "librosa",
    "lightgbm",
    "lightning",
    "llvmlite",
    "matplotlib",
    "mlflow",
    "mypy",
    "networkx",
    "nltk",
    "notebook",
    "numba",
    "numpy",
    "omegaconf",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openai",
    "opencv-python",
    "opencv-python-headless",
    "optax",
    "optuna",
    "orbax-checkpoint",
    "pandas",
    "peft",
    "pillow",
    "pip",
    "plotly",
    "polars",
    "protobuf",
    "psutil",
    "pyarrow",
    "pydantic",
    "pytest",
    "pytorch-lightning",
    "pyyaml",
    "ray",
    "requests",
    "rich",
    "ruff",
    "safetensors",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "seaborn",
    "sentence-transformers",
    "sentencepiece",
    "setuptools",
    "spacy",
    "sqlalchemy",
    "statsmodels",
    "streamlit",
    "sympy",
    "tensorboard",
    "tensorflow",
    "tensorflow-datasets",
    "tensorflow-hub",
    "tensorflow-probability",
    "tensorrt",
    "timm",
    "tokenizers",
    "torch",
    "torchaudio",
    "torchdata",
    "torchmetrics",
    "torchtext",
    "torchvision",
    "tqdm",
    "transformer-engine",
    "transformers",
    "triton",
    "trl",
    "uv",
    "uvicorn",
    "vllm",
    "wandb",
    "wheel",
    "xformers",
    "xgboost",
];

/// Names by which people import or call a project that is published under another.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("attr", "attrs"),
    ("bs4", "beautifulsoup4"),
    ("cv2", "opencv-python"),
    ("dotenv", "python-dotenv"),
    ("faiss", "faiss-cpu"),
    ("opencv", "opencv-python"),
    ("pil", "pillow"),
    ("pytorch", "torch"),
    ("pytorch-cuda", "torch"),
    ("skimage", "scikit-image"),
    ("sklearn", "scikit-learn"),
    ("tf", "tensorflow"),
    ("yaml", "pyyaml"),
];

/// The project that `name`, which no index has, most likely means; `known` are further names.
pub(super) fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == name).map(|(_, meant)| (*meant).to_owned());
    other.or_else(|| {
        let names: Vec<&str> = NAMES.iter().copied().chain(known).filter(|known| *known != name).collect();
        crate::recipe::closest(name, &names).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_misspelt_ones_found() {
        assert!(OTHER_NAMES.is_sorted());
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(meant(name, ["our-own-tool"].into_iter()).as_deref(), expected, "{name}");
        };
        check("torhc", Some("torch"));
        check("tesorflow", Some("tensorflow"));
        check("scikit-lern", Some("scikit-learn"));
        check("sklearn", Some("scikit-learn"));
        check("our-own-tol", Some("our-own-tool"));
        check("something-quite-different", None);
    }
}
