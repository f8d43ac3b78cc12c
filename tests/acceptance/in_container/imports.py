"""Run by the image's python3: imports the modules of its argument, and tells their versions and what is mapped.

    imports.py '{"imports": ["torch"], "loads": ["libcusparse.so.12"]}'

The last line of the output is JSON.
"""

import ctypes
import importlib
import json
import os
import sys

from mapped import mapped_cuda, versions_of_jax


def torch_versions():
    import torch

    # torch opens this one when linear algebra is first used on a GPU; it needs cuSOLVER.
    linear_algebra = f"{os.path.dirname(torch.__file__)}/lib/libtorch_cuda_linalg.so"
    if os.path.exists(linear_algebra):
        ctypes.CDLL(linear_algebra)
    return {"cudnn": torch.backends.cudnn.version(), "nccl": torch.cuda.nccl.version()}


wanted = json.loads(sys.argv[1])
modules = {name: importlib.import_module(name) for name in wanted["imports"]}
for library in wanted["loads"]:
    ctypes.CDLL(library)
print(
    json.dumps(
        {
            "versions": {name: getattr(module, "__version__", "") for name, module in modules.items()},
            "torch": torch_versions() if "torch" in modules else {},
            "jax": versions_of_jax() if "jax" in modules else {},
            "mapped": mapped_cuda(),
        }
    )
)
