"""In the container, pip and uv are content with what is installed, and fetch no second CUDA."""

import re

from harness.engine import NO_NETWORK, machine_network, mounted_uv
from harness.report import figure, require

PROJECTS = ("torchmetrics", "flax", "keras-hub")

# Lines by which pip and uv announce what they fetch or would install; "already satisfied" is none of them.
FETCHES = re.compile(r"^\s*(Collecting|Downloading|Using cached|Would install|Would download|\+)\s.*", re.MULTILINE)
CUDA = re.compile(r"\b(nvidia[-_]|cuda[-_]toolkit)", re.IGNORECASE)


def checks(work):
    said = work.engine.command("pip", "check")
    figure("pip check", said.strip())
    said = work.engine.command("/mnt/uv", "pip", "check", "--system", options=[*NO_NETWORK, *mounted_uv()])
    figure("uv pip check", said.strip().splitlines()[-1])


def dry_runs(work):
    network = [*machine_network(), *mounted_uv()]
    for project in PROJECTS:
        said = work.engine.command("pip", "install", "--dry-run", project, options=network)
        report_fetched("pip", project, said)
        said = work.engine.command("/mnt/uv", "pip", "install", "--system", "--dry-run", project, options=network)
        report_fetched("uv", project, said)


def report_fetched(tool, project, said):
    fetched = [match.group(0).strip() for match in FETCHES.finditer(said)]
    require(fetched, f"{tool}'s dry run of {project} announces nothing, not even {project}:\n{said}")
    cuda = [line for line in fetched if CUDA.search(line)]
    require(not cuda, f"{tool} would fetch CUDA for {project}: {cuda}")
    figure(f"{tool} install {project}", "; ".join(would_install(fetched)))


def would_install(fetched):
    return [line for line in fetched if line.startswith(("Would install", "+"))]
