"""Locks of other tools become images that have what these tools would install: a project with a `uv.lock` (its own package,
a dependency in a repository of git, a group; with torch unless `--quick` is given), and the same from `pylock.toml`. What
`uv pip freeze` lists in the image is what `uv export` lists.
"""

import os
import shutil
import tarfile

from harness import program
from harness.imgforge import build
from harness.oci import Layout
from harness.paths import UV
from harness.processes import run
from harness.report import figure, require
from harness.work import Work

SITE = "usr/local/lib/python3.11/dist-packages"
BACKEND = '[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n'
PROJECT = """[project]
name = "app"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["flask", "tool", {torch}"numpy<2 ; python_version < '3.12'", "numpy>=2 ; python_version >= '3.12'"]
[dependency-groups]
dev = ["pytest"]
serve = ["uvicorn"]
[tool.uv.sources]
tool = {{ git = "{repository}", tag = "v1" }}
"""
TOOL = '[project]\nname = "tool"\nversion = "0.3"\ndependencies = ["idna"]\n'
IDENTITY = ["-c", "user.name=test", "-c", "user.email=test@localhost"]


def write(directory, name, project):
    module = directory / "src" / name
    module.mkdir(parents=True)
    (module / "__init__.py").touch()
    (directory / "pyproject.toml").write_text(project + BACKEND)


def repository(directory):
    """A repository with the project `tool`, by its URL."""
    write(directory, "tool", TOOL)
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "tool"], ["tag", "v1"]):
        run("git", *IDENTITY, *words, cwd=directory)
    return f"file://{directory}"


def exported(project):
    """The lines of `uv export` that are for the image: those of the project's own directory and of CUDA apart."""
    own = ["--frozen", "--group", "serve", "--no-emit-workspace"]
    everything = project / "everything.txt"
    run(UV, "export", "--quiet", *own, "--no-hashes", "-o", everything, cwd=project)
    platform = ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
    compiled = run(UV, "pip", "compile", "--quiet", "--no-deps", "--no-header", "--no-annotate", *platform, everything)
    return {line for line in compiled.splitlines() if not line.startswith("nvidia-")}


def installed(layout, directory):
    """The lines of `uv pip freeze` over the image's distributions, those of CUDA apart."""
    image = Layout(layout)
    for descriptor in image.manifest["layers"]:
        with tarfile.open(image.blob(descriptor)) as layer:
            for member in layer:
                if member.isfile() and member.name.startswith(SITE) and ".dist-info" in member.name:
                    path = directory / member.name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(layer.extractfile(member).read())
    frozen = run(UV, "pip", "freeze", "--quiet", "--path", directory / SITE)
    return {line for line in frozen.splitlines() if not line.startswith("nvidia-")}


def check(name, requirements, project, work):
    recipe = project / "recipe.yaml"
    lines = [f"name: {name}", "base: debian-bookworm", "python: {build: [tool]}", f"requirements: [{requirements}]"]
    recipe.write_text("\n".join(lines) + "\n")
    layout = work.directory / f"{name}-image"
    build(recipe, f"oci:{layout}", "--allow-outside")
    found = installed(layout, work.directory / f"{name}-files")
    require("app @ file:///app/" in found, f"{name}: the project is not among {sorted(found)}")
    expected = exported(project) | {"app @ file:///app/"}
    require(found == expected, f"{name}: missing {sorted(expected - found)}, extra {sorted(found - expected)}")
    figure(f"{name}: equal distributions", len(found))
    shutil.rmtree(layout)


def main():
    parser = program.parser("locks", __doc__)
    parser.add_argument("--quick", action="store_true", help="without torch")
    options = parser.parse_args()
    os.environ.setdefault("UV_NO_PROGRESS", "1")
    with Work("locks") as work:
        project = work.directory / "project"
        torch = "" if options.quick else '"torch==2.6.0", '
        url = repository(work.directory / "tool")
        write(project, "app", PROJECT.format(torch=torch, repository=url))
        run(UV, "lock", "--quiet", cwd=project)
        check("uv-lock", "{file: uv.lock, groups: [serve]}", project, work)
        pylock = ["export", "--quiet", "--frozen", "--group", "serve", "--format", "pylock.toml"]
        run(UV, *pylock, "-o", "pylock.toml", cwd=project)
        check("pylock", "pylock.toml", project, work)


if __name__ == "__main__":
    program.start(main)
