"""The findings of `imgforge check`, compared with the image itself: with ldd, ldconfig, pip and imports in a container."""

import json
import re
from collections import Counter

from harness.report import figure, require
from harness.wheels import normalized

LINKING = ("missing-library", "missing-version", "missing-symbol")

# The libraries that the container runtime brings together with a GPU.
DRIVER = re.compile(r"lib(cuda|nvcuvid|nvoptix|cudadebugger|nvidia[-_][\w-]+)\.so")
# CUDA's own wheels: nobody needs of them what their libraries open in their turn.
COMPONENT = re.compile(r"-packages/nvidia/")
NOT_FOUND = re.compile(r"^(\S+): cannot open shared object file")
PIP = re.compile(r"^(\S+) (\S+) (?:requires|has requirement) ([\w.-]+)")
REQUIRED = re.compile(r"it requires `([\w.-]+)")


def no_errors(found):
    told = Counter(one.level for one in found)
    figure("check", f"{told['error']} errors, {told['warning']} warnings, {told['note']} notes")
    for one in found:
        figure(one.level, one)
    require(not told["error"], "check finds errors in an image that imports fine")


def agree(engine, combination, found, cache):
    """Requires that the findings of a check, and the loader's cache as it read it, agree with the image in the engine."""
    report = engine.report("verdicts.py", json.dumps(combination.imports))
    imports(report, combination)
    loader_cache(report, cache)
    libraries(report, found)
    programs(report, found)
    pip(report, found)


def imports(report, combination):
    failed = {name: error for name, error in report["imports"].items() if error}
    require(not failed, f"cannot be imported: {failed}")
    together = report["together"]
    require(isinstance(together, dict), f"in one process: {together}")
    figure("imported", ", ".join(f"{name} {version}".strip() for name, version in together["versions"].items()))
    figure("mapped by imports", f"{len(together['mapped'])} CUDA libraries")
    twice = Counter(library["soname"] for library in together["mapped"])
    twice = [soname for soname, count in twice.items() if count > 1]
    require(not twice, f"mapped more than once: {twice}")
    if combination.is_shared:
        paths = [library["path"] for library in together["mapped"]]
        private = [path for path in paths if not path.startswith("/usr/local/cuda")]
        require(not private, f"mapped from outside the toolkit's tree: {private}")


def loader_cache(report, parsed):
    require(Counter(map(tuple, parsed)) == Counter(map(tuple, report["cache"])), "ldconfig -p prints another cache")
    require(report["same_cache"], "ldconfig would write another cache")
    figure("ldconfig -p", f"{len(parsed)} names, as check reads them; ldconfig would write the same bytes")


def libraries(report, found):
    """Requires a finding for each extension module or other library that misses something by ldd, unless its package loads
    that before; and for each that cannot be loaded, and for no other."""
    told = {path for one in found if one.rule in LINKING for path in paths_of(one)}
    for kind in ("modules", "libraries"):
        verdicts = {path: verdict for path, verdict in report[kind].items() if not COMPONENT.search(path)}
        failing = {path: why for path, verdict in verdicts.items() if (why := failure(verdict["error"]))}
        missing = {path for path, verdict in verdicts.items() if undriven(verdict["missed"])}
        silent = {path: why for path, why in failing.items() if path not in told and not is_told(why, found)}
        require(not silent, f"cannot be loaded, and check finds nothing: {silent}")
        sound = told & verdicts.keys() - failing.keys()
        require(not sound, f"check finds what is amiss in what can be loaded: {sound}")
        figure(
            kind,
            f"{len(verdicts)}; ldd misses something of {len(missing)}, of which their packages load it before to "
            f"{len(missing - failing.keys())}; {len(failing)} cannot be loaded, and check says so",
        )
        for path, why in failing.items():
            figure("cannot be loaded", f"{path}: {why}")


def is_told(why, found):
    """True when a finding names the missing library for which another cannot be loaded."""
    missed = NOT_FOUND.match(why)
    told = (one.seen for one in found if one.rule == "missing-library")
    return bool(missed) and any(missed[1] in seen for seen in told)


def failure(error):
    """The loader's reason to refuse a library; nothing for one that lacks the driver, or crashes when it has been loaded."""
    missed = NOT_FOUND.match(error)
    return "" if error.startswith("ended by") or (missed and DRIVER.match(missed[1])) else error


def paths_of(finding):
    """The files of a finding: what leads to the one at fault."""
    return {finding.subject, *re.findall(r"(?:^|: |> )(/\S+)", finding.seen)}


def programs(report, found):
    """Requires a finding for each library that a program misses by ldd."""
    told = [one for one in found if one.rule == "missing-library"]
    for path, missed in report["programs"].items():
        for name in undriven(missed):
            here = any(path in paths_of(one) and name in one.seen for one in told)
            require(here, f"ldd misses {name} of {path}, and check finds nothing")
    figure("programs", f"{len(report['programs'])}; what ldd misses of them check finds")


def undriven(names):
    return [name for name in names if not DRIVER.match(name)]


def pip(report, found):
    """Requires the findings of `pip check`, and no others."""
    theirs = {(normalized(match[1]), normalized(match[3])) for line in report["pip"] if (match := PIP.match(line))}
    unmet = [one for one in found if one.rule == "unmet-requirement"]
    mine = {(normalized(one.subject.split()[0]), normalized(REQUIRED.search(one.seen)[1])) for one in unmet}
    require(mine == theirs, f"pip check says {report['pip']}, and check {sorted(mine)}")
    figure("pip check", "; ".join(report["pip"]))
