"""Run by the image's python3: records what is installed, then installs the same versions with uv into the
emptied tree and records that too. Two JSON files in the directory given.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig

PREFIX = sysconfig.get_path("data")
SITE = sysconfig.get_path("purelib")


def tree():
    """Every file below the prefix: its mode and digest, or where a link points. Bytecode is left out."""
    files = {}
    for directory, names, leaves in os.walk(PREFIX):
        names[:] = sorted(name for name in names if name != "__pycache__")
        links = [name for name in names if os.path.islink(os.path.join(directory, name))]
        for name in leaves + links:
            path = os.path.join(directory, name)
            files[os.path.relpath(path, PREFIX)] = description(path)
    return files


def description(path):
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return {"link": os.readlink(path)}
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    text = None
    if path.endswith(".dist-info/METADATA"):
        with open(path, encoding="utf-8") as file:
            text = file.read()
    return {"mode": oct(stat.S_IMODE(status.st_mode)), "digest": digest, "text": text}


def distributions():
    found = importlib.metadata.distributions(path=[SITE])
    return sorted(f"{one.metadata['Name']}=={one.version}" for one in found)


def record(name):
    report = {"site": os.path.relpath(SITE, PREFIX), "distributions": distributions(), "files": tree()}
    with open(os.path.join(sys.argv[1], name), "w", encoding="utf-8") as file:
        json.dump(report, file)
    return report


def empty():
    for name in os.listdir(PREFIX):
        path = os.path.join(PREFIX, name)
        if not os.path.islink(path) and os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.remove(path)
    os.makedirs(SITE)
    os.makedirs(sysconfig.get_path("scripts"))


def main():
    wanted = record("image.json")["distributions"]
    empty()
    install = ["/mnt/uv", "pip", "install", "--system", "--no-deps", "--no-cache", "--only-binary", ":all:", "--quiet"]
    subprocess.run([*install, *wanted], check=True)
    record("uv.json")


main()
