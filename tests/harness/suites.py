"""Programs of other suites of Debian than this machine's, unpacked beside it and not installed."""

from pathlib import Path

from harness.processes import run
from harness.report import require

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def unpacked(packages, directory):
    """Downloads packages, {name: suite}, from the mirror this machine's apt uses, and unpacks them in `directory`.

    Only what they bring themselves is there: the libraries are this machine's.
    """
    require(KEYRING.exists(), f"{KEYRING} is missing: run tests/setup as root")
    sources, root = directory / "sources.list", directory / "root"
    for path in (root, directory / "lists" / "partial", directory / "cache", directory / "debs"):
        path.mkdir(parents=True)
    suites = sorted(set(packages.values()))
    sources.write_text("".join(f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n" for suite in suites))
    apt = [
        "apt-get", "-q",
        "-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=-", "-o", "APT::Sandbox::User=root",
        "-o", f"Dir::State::lists={directory}/lists", "-o", f"Dir::Cache={directory}/cache",
    ]  # fmt: skip
    run(*apt, "update")
    names = [f"{name}/{suite}" for name, suite in packages.items()]
    run(*apt, "download", *names, cwd=directory / "debs")
    for package in (directory / "debs").iterdir():
        run("dpkg", "-x", package, root)
    return root


def mirror():
    """The mirror from which this machine's apt gets Debian's own packages."""
    wanted = ["Created-By: Packages", "Origin: Debian", "Component: main"]
    said = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", *wanted)
    # Security updates are elsewhere, and have no other suites' packages.
    found = [line.split()[0] for line in said.splitlines() if "-security" not in line]
    require(found, "apt knows no mirror of Debian: run `apt-get update`")
    return found[0]
