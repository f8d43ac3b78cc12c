//! The licences of CUDA's components, as NVIDIA names them on the pages that have their texts.

use super::licence::{Licence, NamedLicence};
use crate::cuda::Component;

/// The components that are released apart from the toolkit under terms of their own: name, page.
const OWN_TERMS: [(&str, &str, &str); 5] = [
    (
        "cudnn",
        "NVIDIA Software License Agreement and cuDNN Supplement",
        "https://docs.nvidia.com/deeplearning/cudnn/latest/reference/eula.html",
    ),
    (
        "cudss",
        "NVIDIA Software License Agreement and cuDSS Supplement",
        "https://docs.nvidia.com/cuda/cudss/license.html",
    ),
    (
        "cusparselt",
        "NVIDIA Software License Agreement and cuSPARSELt Supplement",
        "https://docs.nvidia.com/cuda/cusparselt/license.html",
    ),
    (
        "cutensor",
        "NVIDIA Software License Agreement and cuTENSOR Supplement",
        "https://docs.nvidia.com/cuda/cutensor/latest/license.html",
    ),
    (
        "nvshmem",
        "NVIDIA Software License Agreement and NVSHMEM Supplement",
        "https://docs.nvidia.com/nvshmem/release-notes-install-guide/sla.html",
    ),
];

/// The terms of everything else of CUDA.
const TOOLKIT: (&str, &str) =
    ("NVIDIA CUDA Toolkit End User License Agreement", "https://docs.nvidia.com/cuda/eula/index.html");

/// The licence of a component.
pub(super) fn licence(component: Component) -> Licence {
    if component.name() == "nccl" {
        return Licence::expression("BSD-3-Clause");
    }
    let own = OWN_TERMS.iter().find(|(name, ..)| *name == component.name());
    let (name, url) = own.map_or(TOOLKIT, |(_, name, url)| (*name, *url));
    Licence::Named(NamedLicence { name: name.to_owned(), text: format!("{name}: {url}"), url: Some(url) })
}
