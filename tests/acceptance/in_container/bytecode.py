"""Holds the bytecode of the image against what its own Python compiles; prints JSON.

bytecode.py same        compares every .pyc with the code of its source
bytecode.py imports MODULE…   which code each import takes: from a .pyc, or from source
"""

import compileall
import importlib.util
import json
import marshal
import py_compile
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from pathlib import Path

PACKAGES = Path(sysconfig.get_path("purelib"))
HEADER = 16


def code(pyc):
    """Without marshal's references: which objects have them depends on everything a process has loaded."""
    return marshal.dumps(marshal.loads(pyc[HEADER:]), 2)


def compiled_here(directory):
    """Every module of the image, compiled by `compileall` as the image's own Python does it."""
    copies = Path(directory) / "copies"
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for source in PACKAGES.rglob("*.py"):
        copy = copies / source.relative_to(PACKAGES)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compileall.compile_dir(
            copies, quiet=2, maxlevels=99, stripdir=copies, prependdir=PACKAGES, invalidation_mode=mode
        )
    return copies


def same():
    report = {"modules": 0, "refused": [], "missing": [], "different": [], "extra": []}
    with tempfile.TemporaryDirectory() as directory:
        copies = compiled_here(directory)
        for source in sorted(PACKAGES.rglob("*.py")):
            name = str(source.relative_to(PACKAGES))
            expected = Path(importlib.util.cache_from_source(copies / name))
            found = Path(importlib.util.cache_from_source(source))
            report["modules"] += 1
            if not expected.exists():
                report["refused"].append(name)
                if found.exists():
                    report["extra"].append(name)
            elif not found.exists():
                report["missing"].append(name)
            else:
                ours, theirs = found.read_bytes(), expected.read_bytes()
                if ours[:HEADER] != theirs[:HEADER] or code(ours) != code(theirs):
                    report["different"].append(name)
    return report


def imports(modules):
    command = [sys.executable, "-v", "-c", f"import {', '.join(modules)}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr.splitlines()
    taken = [line.split("'")[1] for line in said if line.startswith("# code object from '")]
    taken = [path for path in taken if path.startswith(f"{PACKAGES}/")]
    return {
        "bytecode": sum(path.endswith(".pyc") for path in taken),
        "source": [path for path in taken if not path.endswith(".pyc")],
    }


print(json.dumps(same() if sys.argv[1] == "same" else imports(sys.argv[2:])))
