"""Programs that are run for their output, for what they cost, or until they are no longer needed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from harness.report import Failure, Stopwatch, require


def run(*command, timeout=1800, **options):
    """The standard output of `command`, which gets no input; its failure is a `Failure` with all of its output."""
    command = [str(word) for word in command]
    options = {"stdin": subprocess.DEVNULL} | options
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **options)
    require(done.returncode == 0, f"`{' '.join(command)}` exited with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


LONGEST_START = 60  # seconds


@dataclass(frozen=True)
class Cost:
    seconds: float
    cpu_seconds: float
    peak_memory: int  # bytes


def measured(*command, exit_codes=(0,), environment=None):
    """The standard output of `command`, and its cost as the kernel accounts for it."""
    command = [str(word) for word in command]
    watch = Stopwatch()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | (environment or {}),
    )
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    require(process.returncode in exit_codes, f"`{' '.join(command)}` exited with {process.returncode}")
    return output, Cost(watch.seconds(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def last_json(output):
    """The JSON on the last line of `output`, after whatever else a program printed."""
    return json.loads(output.strip().splitlines()[-1])


def packaged(program):
    """The distribution's program, not another of its name that the user has put before it on PATH."""
    return shutil.which(program, path="/usr/sbin:/usr/bin") or program


def exit_on_signals():
    """Has a signal that ends the program end it by an exit, so that everything it started and changed is put back. A
    signal that is ignored, as under nohup, stays ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: sys.exit(f"ended by {signal.Signals(number).name}"))


def wait_for(answer, process):
    """Calls `answer` until it succeeds, for at most a minute and while the process runs that is to answer."""
    watch = Stopwatch()
    while True:
        try:
            return answer()
        except (Failure, OSError, subprocess.TimeoutExpired):
            if process.poll() is not None or watch.seconds() > LONGEST_START:
                raise
            time.sleep(0.2)


def unmount_below(directory):
    """Unmounts what killed containers left mounted, which would keep the directory from being removed."""
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        place = line.split()[1]
        if place.startswith(f"{directory}/"):
            subprocess.run(["umount", "-l", place], check=False)
