"""Compares the code for GPUs that imgforge finds in libraries with what NVIDIA's cuobjdump lists, image for image.

The libraries are those of the wheels below; the judge is `cuobjdump -all --list-elf --list-ptx` of NVIDIA's wheel. It
lists what is in the sections of nvcc, and does not tell machine code of a family (10.0f) from that of all (10.0). What
libraries keep in their own data is beyond it, as are files whose first cubins it cannot read: these are told, and not
counted.
"""

import json
import re
import subprocess
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

from harness import program
from harness.cargo import built
from harness.paths import ACCEPTANCE
from harness.processes import run
from harness.report import figure, gigabytes, require
from harness.wheels import downloaded

JUDGE = "nvidia-cuda-cuobjdump==13.5.37"
QUICK = ["torchvision==0.21.0", "torchaudio==2.6.0", "xformers==0.0.35", "bitsandbytes==0.50.2"]
WHEELS = [
    *QUICK,
    "cupy-cuda12x==14.2.0",
    "faiss-gpu-cu12==1.14.1.post1",
    "jax-cuda12-pjrt==0.12.0.1",
    "jax-cuda13-pjrt==0.12.0.1",
    "nvidia-cublas==13.10.0.20",
    "nvidia-cudnn-cu12==9.1.0.70",
    "nvidia-cudnn-cu13==9.28.1.4",
    "nvidia-cufft-cu12==11.4.1.4",
    "nvidia-cusolver-cu12==11.7.5.82",
    "nvidia-cusparse-cu12==12.5.10.65",
    "nvidia-cusparselt-cu13==0.10.0",
    "nvidia-nccl-cu12==2.32.3",
    "nvidia-npp-cu12==12.4.1.87",
    "nvidia-nvshmem-cu13==3.8.0",
    "onnxruntime-gpu==1.31.1",
    "tensorflow==2.18.0",
    "torch==2.6.0",
    "torch==2.15.0",
    "xgboost==3.2.0",
]
LEAST_LIBRARIES, LEAST_WHEELS = 40, 10
# Smaller files have no code for GPUs that is worth a comparison.
SMALL = 20_000
# The time of the search beside that of hashing a file once: a check inflates it and hashes it twice.
MOST_TIME = 0.2


def cuobjdump(directory):
    with zipfile.ZipFile(downloaded(JUDGE)) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith("/bin/cuobjdump")]
        path = Path(wheel.extract(name, directory))
    path.chmod(0o755)
    return path


def libraries(wheel, directory):
    """The files of a wheel that may have code for GPUs, one after the other."""
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            if re.search(r"\.so(\.[0-9.]+)?$|\.a$|\.fatbin$", info.filename) and info.file_size > SMALL:
                path = Path(archive.extract(info, directory))
                yield path, info.filename
                path.unlink()


def found(document):
    """The images that imgforge finds where cuobjdump looks, as cuobjdump names them; and the number of all others."""
    listed, others = Counter(), 0
    for images in document["images"]:
        kind = images["kind"]
        if kind["place"] == "data":
            others += images["count"]
            continue
        target = kind["target"].replace(".", "")
        if kind["form"] == "sass":
            target = target.removesuffix("f")
        listed[f"sm_{target}.{'ptx' if kind['form'] == 'ptx' else 'cubin'}"] += images["count"]
    return listed, others


def judged(judge, path):
    """The images that cuobjdump lists; None for a file that it gives up."""
    done = subprocess.run(
        [judge, "-all", "--list-elf", "--list-ptx", path], capture_output=True, text=True, check=False
    )
    if "fatal" in done.stderr:
        return None
    names = re.findall(r"^(?:ELF|PTX) file +\d+: .*\.(sm_\w+\.(?:cubin|ptx))$", done.stdout, re.MULTILINE)
    return Counter(names)


def main():
    command_line = program.parser("acceptance/gpu_coverage", __doc__)
    command_line.add_argument("--quick", action="store_true", help="a few small wheels")
    options = command_line.parse_args()
    ACCEPTANCE.mkdir(parents=True, exist_ok=True)
    equal, wheels, given_up, totals = 0, set(), [], Counter()
    with tempfile.TemporaryDirectory(dir=ACCEPTANCE) as directory:
        judge = cuobjdump(Path(directory) / "judge")
        for requirement in QUICK if options.quick else WHEELS:
            for path, name in libraries(downloaded(requirement), Path(directory) / "wheel"):
                document = json.loads(run(built("example", "coverage"), path))
                totals.update({key: document[key] for key in ("bytes", "searched", "hashed")})
                listed, others = found(document)
                expected = judged(judge, path)
                if expected is None:
                    given_up.append(f"{requirement}: {name}")
                    continue
                differs = f"{name} of {requirement}: imgforge finds {listed - expected}, and not {expected - listed}"
                require(listed == expected, differs)
                if expected:
                    equal += 1
                    wheels.add(requirement)
                    more = f", and {others} in data of its own" if others else ""
                    figure(f"{requirement} {name}", f"{expected.total()} images{more}")
    figure("not judged, as cuobjdump gives them up", ", ".join(given_up) or "none")
    figure("read", gigabytes(totals["bytes"]))
    figure("searched in", f"{totals['searched']:.1f} s, hashed once in {totals['hashed']:.1f} s")
    if not options.quick:
        require(equal >= LEAST_LIBRARIES and len(wheels) >= LEAST_WHEELS, f"only {equal} libraries were compared")
        require(totals["searched"] <= MOST_TIME * totals["hashed"], "the search takes too long")
    print(f"passed for {equal} libraries of {len(wheels)} wheels")


if __name__ == "__main__":
    program.start(main)
