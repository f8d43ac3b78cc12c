"""Run by the image's python3: the image's own verdicts on the subjects of a check.

    verdicts.py '["torch", "jax"]'      the modules to import

The last line of the output is JSON:
* `imports`: each module in a process of its own; `together`: all in one, with the CUDA libraries that it maps;
* `modules` of packages, and `libraries` that no module needs: what `ldd` misses of each, and why it cannot be loaded once
  its package is imported;
* `programs`: what `ldd` misses of each;
* `cache`: every name and path of `ldconfig -p`; `same_cache`: whether `ldconfig` would write the same cache;
* `pip`: the lines of `pip check`.
"""

import ctypes
import importlib
import json
import mmap
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from mapped import mapped_cuda

PROGRAMS = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin")
ENTRY = re.compile(r"^\s*(\S+) \(.*\) => (\S+)$")
FOUND = re.compile(r"=> (/\S+) \(0x", re.MULTILINE)
NOT_FOUND = re.compile(r"(\S+): cannot open shared object file")
MISSED = re.compile(r"^\s*(\S+) => not found$", re.MULTILINE)
LONGEST = 300  # seconds that one import, or the libraries of one package, may take
FORK = get_context("fork")


def package_directories():
    """The directories of packages and of the standard library's own extension modules."""
    return sorted({Path(path).resolve() for path in sys.path if re.search(r"-(packages|dynload)$", path)})


def is_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def is_module(path):
    """True when it has the function by which Python initialises the module of its name."""
    if not path.name.endswith(".so"):
        return False
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(f"\0PyInit_{path.name.split('.')[0]}\0".encode()) >= 0


def elf_files(directory, pattern):
    files = (path for path in sorted(directory.rglob(pattern)) if path.is_file() and not path.is_symlink())
    return [path for path in files if is_elf(path)]


def ldd(paths):
    """For each, the names that `ldd` does not find, and the files that it finds."""

    def linked(path):
        done = subprocess.run(["ldd", path], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        found = {os.path.realpath(file) for file in FOUND.findall(done.stdout)}
        return sorted(set(MISSED.findall(done.stdout))), found

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(map(str, paths), pool.map(linked, paths), strict=True))


def imported(name):
    """An import in a process of its own: why it fails, or nothing."""
    command = [sys.executable, "-c", f"import {name}"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST, check=False
    )
    return (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1] if done.returncode else ""


def together(names):
    modules = {name: importlib.import_module(name) for name in names}
    versions = {name: str(getattr(module, "__version__", "")) for name, module in modules.items()}
    return {"versions": versions, "mapped": mapped_cuda()}


def load(path, carried):
    """Loads a library as Python loads modules, and before it what it misses and packages carry, as their code does: why that
    fails, or nothing."""
    while True:
        try:
            ctypes.CDLL(path)
            return ""
        except OSError as error:
            missed = NOT_FOUND.match(str(error))
            first = carried.pop(missed[1], None) if missed else None
            if not first:
                return str(error)
        if said := load(first, carried):
            return said


def load_after(package, paths, carried):
    """The error of loading each library after its package, which Python imports first."""
    try:
        importlib.import_module(package)
    except BaseException as error:
        print(f"{package} cannot be imported: {error}")
    return {path: in_a_process(load, path, carried) for path in paths}


def in_a_process(function, *arguments):
    """The result of a function in a process of its own, which shares what is loaded here."""
    receiving, sending = FORK.Pipe(duplex=False)
    process = FORK.Process(target=lambda: sending.send(function(*arguments)))
    process.start()
    sending.close()
    try:
        return receiving.recv() if receiving.poll(LONGEST) else f"not done in {LONGEST} s"
    except EOFError:
        process.join()
        return f"ended by {process.exitcode}"
    finally:
        process.kill()
        process.join()


def loaded(libraries, shared):
    """The error of loading each, or nothing."""
    carried = {path.name: str(path) for path in shared}
    by_package = {}
    for path in libraries:
        [within] = [path.relative_to(top) for top in package_directories() if path.is_relative_to(top)]
        by_package.setdefault(within.parts[0].split(".")[0], []).append(str(path))
    errors = {}
    for package, paths in by_package.items():
        said = in_a_process(load_after, package, paths, carried)
        errors |= said if isinstance(said, dict) else dict.fromkeys(paths, said)
    return errors


def cache():
    lines = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [list(match.groups()) for line in lines if (match := ENTRY.match(line))]


def same_cache():
    subprocess.run(["ldconfig", "-C", "/tmp/ld.so.cache"], check=True)
    return Path("/tmp/ld.so.cache").read_bytes() == Path("/etc/ld.so.cache").read_bytes()


def pip_check():
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines()


def verdicts(paths, linked, errors):
    return {path: {"missed": linked[path][0], "error": errors[path]} for path in map(str, paths)}


def main(names):
    shared = [path for top in package_directories() for path in elf_files(top, "*.so*")]
    modules = [path for path in shared if is_module(path)]
    programs = [path for top in PROGRAMS for path in elf_files(Path(top), "*") if not Path(top).is_symlink()]
    linked = ldd([*shared, *programs])
    needed = set().union(*(linked[str(path)][1] for path in modules))
    alone = [path for path in shared if path not in modules and str(path) not in needed]
    errors = loaded([*modules, *alone], shared)
    report = {
        "imports": {name: imported(name) for name in names},
        "together": in_a_process(together, names),
        "modules": verdicts(modules, linked, errors),
        "libraries": verdicts(alone, linked, errors),
        "programs": {str(path): linked[str(path)][0] for path in programs},
        "cache": cache(),
        "same_cache": same_cache(),
        "pip": pip_check(),
    }
    print(json.dumps(report))


main(json.loads(sys.argv[1]))
