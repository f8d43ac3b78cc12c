"""Imports modules, each in a process of its own, and writes a line for each: its number, and `-` or the error in hexadecimal.

It imports what is built into every interpreter, and `os`, which starts none without: images may have no more.
"""

import _signal
import os
import sys

DIRECTORY, LONGEST, MODULES = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
LONGEST_ERROR = 400  # characters
LONGEST_TEXT = 1900  # bytes: a line with it fits into what a pipe takes as one
MOST_ERRORS = 100
AT_ONCE = max(1, min(4, os.cpu_count() or 1))


def error_of_import(name):
    """The error that the import ends with."""
    try:
        __import__(name)
    except BaseException as error:
        text, first = in_short(error), in_short(first_of(error))
        return text if text == first else "{} (before it: {})".format(text, first)
    return None


def first_of(error):
    """The error at whose handling an error was raised, and so on."""
    for _ in range(MOST_ERRORS):
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if before is None:
            break
        error = before
    return error


def in_short(error):
    """Its type, and the first line of its message that says something: some draw a frame around theirs."""
    try:
        lines = str(error).splitlines()
    except BaseException:
        lines = ["an error that cannot be shown"]
    text = next((line.strip() for line in lines if any(map(str.isalnum, line))), "")
    return "{}: {}".format(type(error).__name__, text).rstrip(": ")[:LONGEST_ERROR]


def tell(answers, number, error):
    text = "-" if error is None else error.encode("utf-8", "replace")[:LONGEST_TEXT].hex()
    os.write(answers, "{} {}\n".format(number, text).encode("ascii"))


def import_alone(answers, number):
    _signal.alarm(LONGEST)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    tell(answers, number, error_of_import(MODULES[number]))
    os._exit(0)


def name_of_signal(number):
    names = [name for name in dir(_signal) if name.startswith("SIG") and "_" not in name]
    return next((name for name in names if getattr(_signal, name) == number), "signal {}".format(number))


def told_of(status):
    """The error of a process that did not tell it."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == _signal.SIGALRM:
            return "the import takes more than {} seconds".format(LONGEST)
        return "the import ends the process with {}".format(name_of_signal(number))
    return "the import ends the process with exit code {}".format(os.WEXITSTATUS(status))


def main():
    # As `python3 -c` has them, in the directory in which a container starts.
    sys.argv, sys.path[0] = ["-c"], ""
    try:
        os.chdir(DIRECTORY)
    except OSError:
        os.chdir("/")
    answers = os.dup(1)
    running, waiting = {}, list(range(len(MODULES)))[::-1]
    while running or waiting:
        while waiting and len(running) < AT_ONCE:
            number = waiting.pop()
            process = os.fork()
            if process == 0:
                import_alone(answers, number)
            running[process] = number
        process, status = os.wait()
        # The first process of a sandbox waits for those that imports leave behind as well.
        number = running.pop(process, None)
        if number is not None:
            # The first answer counts: one that ended as it should has told before.
            tell(answers, number, told_of(status) if status else "the import ends the process with exit code 0")


main()
