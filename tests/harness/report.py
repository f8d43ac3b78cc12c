"""Figures for the reader, and the requirements that end a program."""

import time


class Failure(Exception):  # noqa: N818 (an acceptance fails; that is no error of its program)
    """A promise that the image or the build did not keep."""


def require(condition, message):
    if not condition:
        raise Failure(message)


def figure(name, value):
    print(f"   {name}: {value}", flush=True)


def heading(name):
    print(f"-- {name}", flush=True)


def gigabytes(size):
    return f"{size / 1e9:.2f} GB"


def megabytes(size):
    return f"{size / 1e6:.0f} MB"


class Stopwatch:
    def __init__(self):
        self.started = time.monotonic()

    def seconds(self):
        return time.monotonic() - self.started
