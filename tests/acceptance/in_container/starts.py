"""starts.py COUNT MODULE: how many seconds each of so many interpreters takes to import the module; prints JSON."""

import json
import subprocess
import sys
import time

count, module = int(sys.argv[1]), sys.argv[2]


def start():
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.monotonic() - began


start()  # fills the page cache
print(json.dumps([start() for _ in range(count)]))
