"""A virtual machine may give free memory back to its host, and waits for each page of it that it touches again. What is
measured meanwhile takes longer, and one thing longer than another."""

import re
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

# The least order of the blocks of free memory that are given back, and one that no block has.
ORDER = Path("/sys/module/page_reporting/parameters/page_reporting_order")
NEVER = "11"


@contextmanager
def kept():
    """Gives no memory back meanwhile; says so where that cannot be had."""
    try:
        before = ORDER.read_text()
    except FileNotFoundError:
        yield
        return
    try:
        try:
            ORDER.write_text(NEVER)
        except OSError as error:
            print(f"figures vary more: this machine may give memory back to its host ({error})", file=sys.stderr)
        yield
    finally:
        with suppress(OSError):
            ORDER.write_text(before)


TOUCH = "import sys; from mmap import *; mmap(-1, int(sys.argv[1]), flags=MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE)"


def touch(size):
    """Touches so many bytes of free memory, half of it at most; in another process, as a process's children are said to have
    had as much memory as itself."""
    free = int(re.search(r"MemAvailable:\s*(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024
    subprocess.run([sys.executable, "-c", TOUCH, str(min(free // 2, size))], check=True)
