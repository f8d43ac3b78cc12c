"""A virtual machine may give free memory back to its host, and waits for each page of it that it touches again. What is
measured meanwhile takes longer, and one thing longer than another."""

import mmap
import re
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


def touch(size):
    """Touches so many bytes of free memory, half of it at most."""
    free = int(re.search(r"MemAvailable:\s*(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024
    mmap.mmap(-1, min(free // 2, size), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()
