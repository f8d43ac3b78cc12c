"""Programs in an unpacked image, as a container would run them: with its environment, user and working directory, /proc and
/dev, and files of this machine in /mnt. Mounts are in a namespace of the program's own, so that none is left. Needs root."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # of a container whose config has none


@dataclass(frozen=True)
class Account:
    """A user as /etc/passwd has it."""

    uid: int = 0
    gid: int = 0
    home: str = "/root"


@dataclass(frozen=True)
class Ended:
    code: int
    output: str
    error: str


@dataclass(frozen=True)
class Root:
    """The root directory of an unpacked image, and the files of this machine that lie in its /mnt, by their names there."""

    directory: Path
    lent: dict = field(default_factory=dict)

    def run(self, *words, environment=None, user=Account(), directory="/", timeout=600):
        """The exit code and the outputs of a program, whose name is searched in the PATH of its environment. 127 where there
        is no such program, or none that the kernel starts."""
        order = {
            "root": str(self.directory),
            "lent": {name: str(path) for name, path in self.lent.items()},
            "words": [str(word) for word in words],
            "environment": environment or {"PATH": PATH, "HOME": "/root"},
            "user": [user.uid, user.gid],
            "directory": directory,
        }
        command = ["unshare", "--mount", sys.executable, "-B", __file__, json.dumps(order)]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def account(self, name):
        """The user that an image's config names; root where it names none."""
        if not name:
            return Account()
        lines = (self.directory / "etc/passwd").read_text().splitlines()
        for login, _, uid, gid, _, home, *_ in (line.split(":") for line in lines):
            if name in (login, uid):
                return Account(int(uid), int(gid), home)
        return Account(int(name), int(name), "/")


def mount(*words):
    subprocess.run(["mount", *words], check=True)


def enter(order):
    root = order["root"]
    mount("-t", "proc", "proc", f"{root}/proc")
    mount("--rbind", "/dev", f"{root}/dev")
    mount("-t", "tmpfs", "-o", "mode=0755", "lent", f"{root}/mnt")
    for name, path in order["lent"].items():
        lend(path, f"{root}/mnt/{name}")
    os.chroot(root)
    Path(order["directory"]).mkdir(parents=True, exist_ok=True)
    os.chdir(order["directory"])
    uid, gid = order["user"]
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    try:
        os.execvpe(order["words"][0], order["words"], order["environment"])
    except OSError as error:
        sys.exit(cannot_start(order["words"][0], error))


def lend(path, place):
    if Path(path).is_dir():
        Path(place).mkdir()
    else:
        Path(place).touch()
    mount("--bind", path, place)


def cannot_start(program, error):
    print(f"{program}: {error.strerror}", file=sys.stderr)
    return 127


if __name__ == "__main__":
    enter(json.loads(sys.argv[1]))
