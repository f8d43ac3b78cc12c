"""What every acceptance step needs: figures, requirements, and programs that fail loudly."""

import json
import signal
import subprocess
import sys
import time


class Failure(Exception):
    """A promise that the image or the build did not keep."""


def require(condition, message):
    if not condition:
        raise Failure(message)


def exit_on_signals():
    """A signal that ends the program ends it by an exit, so that what it started and changed is put back. One that is
    ignored, as nohup has it, stays ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: sys.exit(f"ended by {signal.Signals(number).name}"))


def figure(name, value):
    print(f"   {name}: {value}", flush=True)


def gigabytes(size):
    return f"{size / 1e9:.2f} GB"


def run(*command, timeout=1800, **options):
    """Runs `command` without input and returns its standard output; its failure is a `Failure` with all it said."""
    command = [str(word) for word in command]
    options = {"stdin": subprocess.DEVNULL} | options
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **options)
    require(done.returncode == 0, f"`{' '.join(command)}` exited with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def last_json(output):
    """The JSON on the last line of `output`, after whatever else a program printed."""
    return json.loads(output.strip().splitlines()[-1])


class Stopwatch:
    def __init__(self):
        self.started = time.monotonic()

    def seconds(self):
        return time.monotonic() - self.started
