"""The command lines of the programs, and the steps of those that have several."""

import argparse
import sys

from harness.processes import exit_on_signals
from harness.report import Failure, Stopwatch, figure, heading


def parser(name, documentation):
    """A command line without arguments; the program's documentation is its help."""
    return argparse.ArgumentParser(
        prog=f"tests/{name}", description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def start(main):
    """Runs `main`; a promise that was not kept ends the program with its message."""
    exit_on_signals()
    try:
        main()
    except Failure as failure:
        sys.exit(f"FAILED: {failure}")


def one_of(names):
    """The type of an argument that is one of the names; `choices` refuses that no argument is given, in Python 3.11."""

    def name(word):
        if word not in names:
            raise argparse.ArgumentTypeError(f"`{word}` is none of {', '.join(names)}")
        return word

    return name


def step_names(name, documentation, steps, quick=()):
    """The steps that the command line asks for: those that it names, those of --quick, or all."""
    command_line = parser(name, documentation)
    command_line.add_argument("steps", nargs="*", type=one_of(steps), metavar="STEP", help="by default all")
    command_line.add_argument("--list", action="store_true", help="print the names of the steps")
    if quick:
        command_line.add_argument("--quick", action="store_true", help=f"the steps of .ci/run: {', '.join(quick)}")
    options = command_line.parse_args()
    if options.list:
        print("\n".join(steps))
        sys.exit()
    return list(quick) if quick and options.quick else options.steps or list(steps)


def perform(steps, names, work):
    """Performs steps, which are functions of the work."""
    whole = Stopwatch()
    for name in names:
        heading(name)
        watch = Stopwatch()
        steps[name](work)
        figure("step took", f"{watch.seconds():.0f} s")
    print(f"{len(names)} steps passed in {whole.seconds():.0f} s")
